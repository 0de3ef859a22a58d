// What a file holds, told by its name and its first bytes.

export const HEAD_BYTES = 8192;
const MOST_CONTROL = 0.1;
const MAGIC = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/gif", [0x47, 0x49, 0x46, 0x38]],
];
const NAMES = { csv: "table", tsv: "table", tab: "table", json: "json", geojson: "json", ipynb: "json", jsonl: "lines", ndjson: "lines" };

/** `{kind, type}`: kind is image (with its media type), parquet, npy, table, json, lines, text or binary. */
export function contentOf(name, head) {
  for (const [type, magic] of MAGIC) if (magic.every((byte, at) => head[at] === byte)) return { kind: "image", type };
  if (ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 12) === "WEBP") return { kind: "image", type: "image/webp" };
  if (ascii(head, 0, 4) === "PAR1") return { kind: "parquet" };
  if (ascii(head, 1, 6) === "NUMPY" && head[0] === 0x93) return { kind: "npy" };
  if (isBinary(head)) return { kind: "binary" };
  const ending = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  if (ending === "svg") return { kind: "image", type: "image/svg+xml" };
  return { kind: Object.hasOwn(NAMES, ending) ? NAMES[ending] : "text" };
}

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

function isBinary(head) {
  if (isWide(head)) return false;
  let control = 0;
  for (const byte of head) {
    if (byte === 0) return true;
    if (byte < 0x20 && (byte < 0x08 || byte > 0x0d) && byte !== 0x1b) control += 1;
  }
  return control > head.length * MOST_CONTROL;
}

const isWide = (head) => (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);

/** `{text, encoding, isWhole}`: what is no text of the encoding became U+FFFD, and then it is not whole. */
export function textOf(bytes) {
  const encoding = isWide(bytes) ? (bytes[0] === 0xff ? "utf-16le" : "utf-16be") : "utf-8";
  try {
    // What is cut at the end of the bytes is left out: it may be a character whose rest was not read.
    return { text: new TextDecoder(encoding, { fatal: true }).decode(bytes, { stream: true }), encoding, isWhole: true };
  } catch {
    return { text: new TextDecoder(encoding).decode(bytes), encoding, isWhole: false };
  }
}
