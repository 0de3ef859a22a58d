// One entry of a result: what it is, what can be seen of it, and how to have all of it.

import { html, useMemo } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { visible } from "../lib/text.js";
import { Empty } from "../parts/basics.js";
import { contentOf, HEAD_BYTES } from "../results/content.js";
import { Download } from "./download.js";
import { HexPreview } from "./hex.js";
import { ImagePreview } from "./image.js";
import { JsonPreview } from "./json.js";
import { Loaded, useLoaded } from "./loaded.js";
import { TablePreview } from "./table.js";
import { TextPreview } from "./text.js";

/** `node` is of results/tree.js; `command` is what gets it on a command line; `to` makes the address of a path. */
export function Preview({ contents, node, command, to }) {
  const file = useMemo(() => fileOf(contents, node), [contents, node]);
  return html`<section class="preview" aria-label="File">
    <h2>${visible(node.path)}</h2>
    ${file
      ? html`<p class="soft">${bytes(file.size)}${node.kind === "hardlink" && `, another name of ${visible(node.entry.target)}`}</p>
        <${Download} file=${file} command=${command} />
        <${Content} key=${node.path} file=${file} />`
      : html`<${Other} node=${node} to=${to} />`}
  </section>`;
}

/** `{name, size, read, pieces}`; null of what has no content. */
function fileOf(contents, node) {
  const entry = node.entry && contents.fileOf(node.entry);
  return entry && {
    name: node.name,
    size: entry.size,
    read: (from, to, signal) => contents.read(entry, from, to, signal),
    pieces: (signal) => contents.pieces(entry, 0, entry.size, signal),
  };
}

function Content({ file }) {
  const loaded = useLoaded((signal) => file.read(0, HEAD_BYTES, signal), [file]);
  if (!file.size) return html`<${Empty}>The file is empty.<//>`;
  return html`<${Loaded} of=${loaded}>${(head) => chosen(file, contentOf(file.name, head))}<//>`;
}

function chosen(file, { kind, type }) {
  switch (kind) {
    case "image": return html`<${ImagePreview} file=${file} type=${type} />`;
    case "json": return html`<${JsonPreview} file=${file} />`;
    case "text": return html`<${TextPreview} file=${file} />`;
    case "binary": return html`<${HexPreview} file=${file} />`;
    default: return html`<${TablePreview} file=${file} kind=${kind} />`;
  }
}

function Other({ node, to }) {
  if (node.kind === "symlink") return html`<p>A symbolic link to <code>${visible(node.entry.target)}</code>. <${Target} node=${node} to=${to} /></p>`;
  if (node.kind === "hardlink") return html`<p>Another name of <code>${visible(node.entry.target)}</code>, which is not in the result.</p>`;
  if (node.children) return html`<p>A folder with ${node.count} files of ${bytes(node.size)}.</p>`;
  return html`<p>Neither a file, a folder nor a link.</p>`;
}

/** Where a link leads within the result; it is never followed by itself. */
function Target({ node, to }) {
  const path = resolved(node.path, node.entry.target);
  return path === null ? html`It leads out of the result.` : html`<a href=${to(path)}>Look at ${visible(path)}</a>`;
}

export function resolved(path, target) {
  if (target.startsWith("/")) return null;
  const parts = path.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "..") {
      if (!parts.length) return null;
      parts.pop();
    } else if (part && part !== ".") parts.push(part);
  }
  return parts.join("/");
}
