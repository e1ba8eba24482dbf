export function isHeaderName(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** Reports whether a text consists of visible ASCII characters and spaces, without a space at either end. */
export function isHeaderValue(text: string): boolean {
  return /^(?! )[ -~]*(?<! )$/.test(text);
}
