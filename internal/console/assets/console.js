// The pages work without this script. It shows secrets while a person types them, marks fields that
// have a problem, refuses lines in fields that have only one, copies commands, and shows states as they change.
"use strict";

// Buttons that need this script are hidden in the page.
function prepare(root) {
  for (const button of root.querySelectorAll("button[data-reveal], button[data-copy]")) {
    button.hidden = button.dataset.copy !== undefined && !navigator.clipboard; // browsers have it only with TLS and on this machine
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.reveal) {
    const field = document.getElementById(button.dataset.reveal);
    const shown = field.classList.toggle("shown");
    if (field.type !== "textarea") field.type = shown ? "text" : "password";
    button.firstChild.textContent = shown ? "Hide" : "Show";
  }
  if (button.dataset.copy) {
    const text = document.getElementById(button.dataset.copy).textContent;
    navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; });
  }
});

// A hidden secret is never kept visible by the browser's history.
window.addEventListener("pagehide", () => {
  for (const field of document.querySelectorAll("[data-secret]")) {
    field.classList.remove("shown");
    if (field.type === "text") field.type = "password";
  }
  for (const button of document.querySelectorAll("button[data-reveal]")) button.firstChild.textContent = "Show";
});

// Browsers join the lines of a text that is pasted into a field of one line, which makes a secret wrong.
function showFieldProblem(field, text) {
  const problem = document.getElementById("error-" + field.id);
  if (!problem) return false;
  problem.setAttribute("role", "alert");
  problem.textContent = text;
  field.setAttribute("aria-invalid", String(text !== ""));
  return true;
}
function refuseLines(event, text) {
  const field = event.target.closest?.("input[data-secret]");
  if (!field || !/[\r\n]/.test(text.trim())) return;
  const lines = document.getElementById(field.id.replace("values.", "lines."));
  if (lines && lines !== field) lines.closest("details").open = true;
  const advice = lines && lines !== field ? "Enter it below, at “Several lines”." : "The value has only one line: copy nothing else.";
  if (showFieldProblem(field, "Nothing was pasted, because the text has several lines. " + advice)) event.preventDefault();
}
document.addEventListener("paste", (event) => refuseLines(event, event.clipboardData.getData("text")));
document.addEventListener("drop", (event) => refuseLines(event, event.dataTransfer.getData("text")));
document.addEventListener("input", (event) => {
  if (event.target.matches("input[data-secret]")) showFieldProblem(event.target, "");
});

// A field with a problem may be in a closed part of the form.
function showProblem(field) {
  if (!field) return;
  field.closest("details")?.setAttribute("open", "");
  field.focus();
}

document.addEventListener("htmx:afterSettle", (event) => {
  prepare(event.target);
  for (const problem of document.querySelectorAll(".error[data-for]")) {
    const field = document.getElementById(problem.dataset.for);
    if (field) field.setAttribute("aria-invalid", String(problem.textContent.trim() !== ""));
  }
  if (event.detail.target?.id === "result") showProblem(document.querySelector('[aria-invalid="true"]'));
});

// If the credential can no longer be read, its open page keeps what it shows.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { requestConfig, serverResponse } = event.detail;
  if (requestConfig.elt.hasAttribute("data-refresh") && !serverResponse.includes('id="state"')) event.detail.shouldSwap = false;
});

// A form or search without an answer, or with an answer that is no part of a page.
function showFailure(event) {
  if (event.detail.elt?.hasAttribute("data-refresh")) return; // the page keeps what it shows
  const notice = document.createElement("div"), text = document.createElement("p");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  text.textContent = "The broker did not answer, or its answer was lost. Before you try again, check in another tab what was saved.";
  notice.append(text);
  event.detail.target.replaceChildren(notice);
}
document.addEventListener("htmx:sendError", showFailure);
document.addEventListener("htmx:responseError", showFailure);

// A sign-in link works once. It does not stay in the browser's history.
if (location.pathname === "/sign-in" && location.search) {
  history.replaceState(null, "", location.pathname);
}

// The stream ends when another list is shown, and while the page is hidden: browsers open only a few
// connections to one server.
let stream = null;
function watch() {
  const list = document.querySelector("[data-states]");
  if (stream) stream.close();
  stream = null;
  if (!list || document.hidden) return;
  const opened = new EventSource(list.dataset.states);
  stream = opened;
  stream.onmessage = (message) => {
    const state = JSON.parse(message.data);
    for (const mark of document.querySelectorAll("[data-credential]")) {
      if (mark.dataset.credential !== state.id) continue;
      if (mark.textContent !== state.word) {
        for (const page of document.querySelectorAll("[data-refresh]")) htmx.trigger(page, "state");
      }
      mark.textContent = state.word;
      mark.className = "mark " + state.class;
    }
    for (const hint of document.querySelectorAll("[data-changed]")) {
      if (hint.dataset.changed === state.id && hint.dataset.etag !== state.etag) hint.hidden = false;
    }
  };
  // The browser itself tries again after a broken connection, but not after an HTTP error.
  opened.onerror = () => {
    if (opened.readyState === EventSource.CLOSED && stream === opened) setTimeout(watch, 30000);
  };
}
document.addEventListener("htmx:afterSettle", watch);
document.addEventListener("visibilitychange", watch);

prepare(document);
watch();
