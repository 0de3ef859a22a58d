// The first bytes of what is no text.

import { html } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { Loaded, useLoaded } from "./loaded.js";
import { Numbered } from "./text.js";

const BYTES = 2048;
const WIDE = 16;

export function HexPreview({ file }) {
  const loaded = useLoaded((signal) => file.read(0, BYTES, signal), [file]);
  return html`<p class="soft">No text: ${file.size > BYTES ? `the first ${bytes(BYTES)} of ${bytes(file.size)}` : "its bytes"}.</p>
    <${Loaded} of=${loaded}>${(found) => html`<${Numbered} lines=${linesOf(found)} isNumbered=${false} />`}<//>`;
}

function linesOf(content) {
  const lines = [];
  for (let at = 0; at < content.length; at += WIDE) {
    const row = Array.from(content.subarray(at, at + WIDE));
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(WIDE * 3)} ${text}`);
  }
  return lines;
}
