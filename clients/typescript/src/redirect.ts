export const maxRedirects = 20;

export function isRedirect(httpStatus: number): boolean {
  return [301, 302, 303, 307, 308].includes(httpStatus);
}

/** Reports whether a redirect changes the method to GET and removes the body, as browsers do. */
export function dropsBody(httpStatus: number, method: string): boolean {
  return (
    ([301, 302].includes(httpStatus) && method === "POST") ||
    (httpStatus === 303 && method !== "GET" && method !== "HEAD")
  );
}

/** Headers that describe a body. */
export const bodyHeaders = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-type",
  "transfer-encoding",
];

/** Headers of the program that another origin must not get. */
export const originHeaders = ["authorization", "cookie", "host", "proxy-authorization"];
