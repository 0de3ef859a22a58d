// A JSON document, laid out; one that is too large or none is shown as the text that it is.

import { html, useMemo } from "../vendor/preact.js";
import { visible } from "../lib/text.js";
import { textOf } from "../results/content.js";
import { Loaded, useLoaded } from "./loaded.js";
import { Numbered, TextPreview, TEXT_BYTES } from "./text.js";

/** What laying it out may come to: what is deep and long grows to many times its size by the spaces before each line. */
const MOST_CHARACTERS = 8 << 20;

export function JsonPreview({ file }) {
  return file.size > TEXT_BYTES ? html`<${TextPreview} file=${file} />` : html`<${Document} file=${file} />`;
}

function Document({ file }) {
  const loaded = useLoaded((signal) => file.read(0, file.size, signal), [file]);
  return html`<${Loaded} of=${loaded}>${(content) => html`<${Laid} content=${content} file=${file} />`}<//>`;
}

function Laid({ content, file }) {
  const lines = useMemo(() => {
    const { text } = textOf(content);
    if (laidOut(text) > MOST_CHARACTERS) return "it is nested too deeply to be laid out";
    try {
      return JSON.stringify(JSON.parse(text), null, 2).split("\n").map(visible);
    } catch (error) {
      return error.message;
    }
  }, [content]);
  if (Array.isArray(lines)) return html`<${Numbered} lines=${lines} />`;
  return html`<p class="warned">Shown as it is: ${visible(lines)}.</p><${TextPreview} file=${file} />`;
}

/** No less than the characters that the document would have. */
function laidOut(text) {
  let [depth, deepest, lines] = [0, 0, 1];
  for (const char of text) {
    if (char === "[" || char === "{") deepest = Math.max(deepest, (depth += 1));
    else if (char === "]" || char === "}") depth -= 1;
    else if (char !== ",") continue;
    lines += 1;
  }
  return text.length + 2 * lines * deepest;
}
