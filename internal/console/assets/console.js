// The pages work without this script. It shows secrets while a person types them, marks fields that
// have a problem, copies commands, and shows states as they change.
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
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.firstChild.textContent = shown ? "Show" : "Hide";
  }
  if (button.dataset.copy) {
    const text = document.getElementById(button.dataset.copy).textContent;
    navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; });
  }
});

// A hidden secret is never kept visible by the browser's history.
window.addEventListener("pagehide", () => {
  for (const field of document.querySelectorAll("input[data-secret]")) field.type = "password";
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

// A form or search without an answer, or with an answer that is no part of a page.
function showFailure(event) {
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
