// One whole file onto the reader's disk, read straight from the bucket; the command that does it for any size.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { visible } from "../lib/text.js";
import { Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";

/** A browser has it in memory, or in a folder of its own, until it is saved. */
const MOST_BYTES = 256 << 20;

export function Download({ file, command }) {
  const [done, setDone] = useState(null);
  const [error, setError] = useState(null);
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), [file]);
  const start = async () => {
    stop.current = new AbortController();
    setError(null);
    try {
      const parts = [];
      let read = 0;
      for await (const piece of file.pieces(stop.current.signal)) {
        parts.push(new Blob([piece]));
        read += piece.length;
        setDone(read);
      }
      save(new Blob(parts, { type: "application/octet-stream" }), file.name);
    } catch (failure) {
      if (failure.name !== "AbortError") setError(failure);
    }
    setDone(null);
  };
  const isTooLarge = file.size > MOST_BYTES;
  return html`<div class="row">
      ${isTooLarge ? html`<span>A browser downloads files up to ${bytes(MOST_BYTES)}. On a command line:</span>`
        : done === null ? html`<button onClick=${start}>Download ${visible(file.name)}</button>`
        : html`<span role="status">${bytes(done)} of ${bytes(file.size)}</span><button onClick=${() => stop.current.abort()}>Cancel</button>`}
    </div>
    <${Command} text=${command} />
    <${Problem} error=${error} />`;
}

/** The type is that of any bytes, so that nothing opens what it is. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
