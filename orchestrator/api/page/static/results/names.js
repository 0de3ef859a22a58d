// Names of entries: bytes that need not be text, as a text that is the same for the same bytes alone.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** As UTF-8; where it is none, each byte that is not ASCII as `\xff`. */
export function nameOf(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join("");
  }
}

export const nameOfBase64 = (text) => nameOf(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));

/** A path without needless parts; empty for the folder of the result itself. */
export const plain = (path) => path.split("/").filter((part) => part && part !== ".").join("/");
