// The beginning or the end of a text, with the numbers of its lines.

import { html, useMemo, useState } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { visibleLines } from "../lib/text.js";
import { textOf } from "../results/content.js";
import { Loaded, useLoaded } from "./loaded.js";

export const TEXT_BYTES = 1 << 20;

/** `file` has `size` and `read(from, to, signal)`. */
export function TextPreview({ file }) {
  const [atEnd, setAtEnd] = useState(false);
  const from = atEnd ? Math.max(0, file.size - TEXT_BYTES) : 0;
  const loaded = useLoaded((signal) => file.read(from, from + TEXT_BYTES, signal), [file, from]);
  return html`${file.size > TEXT_BYTES && html`<div class="row"><span>${atEnd ? "The last" : "The first"} ${bytes(TEXT_BYTES)} of ${bytes(file.size)}.</span>
      <button onClick=${() => setAtEnd(!atEnd)}>${atEnd ? "Show the beginning" : "Show the end"}</button></div>`}
    <${Loaded} of=${loaded}>${(found) => html`<${Lines} content=${found} isNumbered=${!from} />`}<//>`;
}

function Lines({ content, isNumbered }) {
  const { lines, isWhole, encoding } = useMemo(() => {
    const read = textOf(content);
    return { ...read, lines: visibleLines(read.text).replace(/\n$/, "").split("\n") };
  }, [content]);
  return html`${!isWhole && html`<p class="warned">Not all of it is ${encoding.toUpperCase()}: what is none is shown as �.</p>`}
    <${Numbered} lines=${lines} isNumbered=${isNumbered} />`;
}

/** Two texts beside each other, so that a hundred thousand lines are two nodes of the document. */
export const Numbered = ({ lines, isNumbered = true }) => html`<div class="numbered" tabindex="0" role="region" aria-label="Content">
  ${isNumbered && html`<pre aria-hidden="true" class="line-numbers">${lines.map((_, at) => at + 1).join("\n")}</pre>`}
  <pre>${lines.join("\n")}</pre>
</div>`;
