// A JSON document, laid out; one that is too large or none is shown as the text that it is.

import { html, useMemo } from "../vendor/preact.js";
import { visible } from "../lib/text.js";
import { textOf } from "../results/content.js";
import { Loaded, useLoaded } from "./loaded.js";
import { Numbered, TextPreview, TEXT_BYTES } from "./text.js";

export function JsonPreview({ file }) {
  return file.size > TEXT_BYTES ? html`<${TextPreview} file=${file} />` : html`<${Document} file=${file} />`;
}

function Document({ file }) {
  const loaded = useLoaded((signal) => file.read(0, file.size, signal), [file]);
  return html`<${Loaded} of=${loaded}>${(content) => html`<${Laid} content=${content} file=${file} />`}<//>`;
}

function Laid({ content, file }) {
  const lines = useMemo(() => {
    try {
      return JSON.stringify(JSON.parse(textOf(content).text), null, 2).split("\n").map(visible);
    } catch (error) {
      return error.message;
    }
  }, [content]);
  if (Array.isArray(lines)) return html`<${Numbered} lines=${lines} />`;
  return html`<p class="warned">This is no JSON: ${visible(lines)}</p><${TextPreview} file=${file} />`;
}
