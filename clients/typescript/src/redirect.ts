/** The largest number of redirects that are followed for one request. */
export const maxRedirects = 20;

export function isRedirect(httpStatus: number): boolean {
  return [301, 302, 303, 307, 308].includes(httpStatus);
}

const bodyHeaders = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-type",
  "transfer-encoding",
];

const originHeaders = ["authorization", "cookie", "host", "proxy-authorization"];

/** The next request after a redirect, by the rules of the fetch standard. */
export interface Redirect {
  url: URL;
  method: string;
  dropsBody: boolean;
  /** Reports whether a header of the program is not sent again. */
  dropsHeader(name: string): boolean;
}

/** Throws an error if the redirect cannot be followed. */
export function redirect(from: URL, method: string, httpStatus: number, location: string): Redirect {
  const url = new URL(location, from);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new Error("the redirect is neither https nor http");
  }
  if (url.username || url.password) {
    throw new Error("the redirect has a URL with credentials");
  }
  url.hash ||= from.hash;
  const upper = method.toUpperCase();
  const dropsBody =
    ([301, 302].includes(httpStatus) && upper === "POST") ||
    (httpStatus === 303 && upper !== "GET" && upper !== "HEAD");
  const dropped = [...(dropsBody ? bodyHeaders : []), ...(url.origin === from.origin ? [] : originHeaders)];
  return {
    url,
    method: dropsBody ? "GET" : method,
    dropsBody,
    dropsHeader: (name) => dropped.includes(name.toLowerCase()),
  };
}

/** Reports whether a body can be sent again. Others, such as streams, can be read only once. */
export function canRepeat(body: unknown): boolean {
  if (typeof (body as { pipe?: unknown } | null | undefined)?.pipe === "function") {
    return false; // a stream, or an object of the package form-data
  }
  return (
    body == null ||
    typeof body === "string" ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    /^\[object (Blob|File|FormData|URLSearchParams)\]$/.test(Object.prototype.toString.call(body))
  );
}
