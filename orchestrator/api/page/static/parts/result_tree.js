// The folders and files of a result, of which only the rows that can be seen are in the document.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { visible } from "../lib/text.js";
import { above, rowsOf } from "../results/tree.js";
import { Rows } from "./rows.js";

const ROW_HEIGHT = 34;
const INDENT_REM = 1.1;
const MOST_INDENT = 12;
const SIGNS = { symlink: "↪", hardlink: "=", special: "?" };

/** `root` is that of results/tree.js; `path` is the file that is looked at; `to` makes the address of a path. */
export function ResultTree({ root, path, to }) {
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState(() => new Set(root.children.length < 20 ? root.children.filter((each) => each.children).map((each) => each.path) : []));
  useEffect(() => setOpen((last) => new Set([...last, ...above(path)])), [path]);
  const toggle = (folder) => setOpen((last) => {
    const next = new Set(last);
    if (!next.delete(folder)) next.add(folder);
    return next;
  });
  const rows = useMemo(() => rowsOf(root, open, filter), [root, open, filter]);
  const columns = [
    { name: "name", label: "Name", class: "entry", cell: (row) => html`<${Name} row=${row} isOpen=${open.has(row.node.path)} toggle=${toggle} isWhole=${filter !== ""} path=${path} to=${to} />` },
    { name: "size", label: "Size", class: "number", cell: ({ node }) => (node.kind === "file" || node.children ? bytes(node.size) : "") },
  ];
  return html`<div class="result-tree">
    <div class="row filters">
      <div><label for="entry-filter">Filter by path</label>
        <input id="entry-filter" type="search" value=${filter} onInput=${(event) => setFilter(event.target.value)} /></div>
      <span class="soft" role="status">${filter.trim() ? `${count(rows.length)} of ${count(root.count)} files` : `${count(root.count)} files`}</span>
    </div>
    <${Rows} label="Files of the result" columns=${columns} items=${rows} keyOf=${({ node }) => node.path} height=${ROW_HEIGHT} />
  </div>`;
}

function Name({ row: { node, depth }, isOpen, toggle, isWhole, path, to }) {
  const indent = { paddingLeft: `${Math.min(depth, MOST_INDENT) * INDENT_REM}rem` };
  const name = visible(isWhole ? node.path : node.name);
  if (node.children)
    return html`<span style=${indent}><button class="plain folder" aria-expanded=${isOpen} onClick=${() => toggle(node.path)} title=${visible(node.path)}>
      <span aria-hidden="true">${isOpen ? "▾" : "▸"}</span> ${name}/</button> <small>${count(node.count)}</small></span>`;
  return html`<span style=${indent}><a href=${to(node.path)} aria-current=${node.path === path ? "true" : undefined} title=${visible(node.path)}>
    ${SIGNS[node.kind] && html`<span aria-hidden="true">${SIGNS[node.kind]} </span>`}${name}</a></span>`;
}
