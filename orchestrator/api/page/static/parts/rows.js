// A table of which only the rows that can be seen are in the document.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";

const BEYOND = 8;

/**
 * `columns` are `[{name, label, cell(item), class, sort}]`; `items` are in their order, each with a key by `keyOf`. Rows
 * are `height` pixels high, and what does not fit is cut off. `sorted` and `onSort` tell and change by what it is sorted.
 */
export function Rows({ label, columns, items, keyOf, height = 48, sorted, onSort }) {
  const box = useRef(null);
  const [seen, setSeen] = useState({ top: 0, high: 600 });
  const look = () => {
    if (!box.current) return; // the table is gone, and its last size is told
    const top = Math.floor(box.current.scrollTop / height);
    const high = box.current.clientHeight;
    setSeen((last) => (last.top === top && last.high === high ? last : { top, high }));
  };
  useEffect(() => {
    const watched = new ResizeObserver(look);
    watched.observe(box.current);
    return () => watched.disconnect();
  }, []);
  const from = Math.max(0, Math.min(seen.top, items.length) - BEYOND);
  const to = Math.min(items.length, seen.top + Math.ceil(seen.high / height) + BEYOND);
  return html`<div class="scroll rows" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label=${label}>
    <table aria-rowcount=${items.length + 1}>
      <thead><tr aria-rowindex="1">${columns.map((each) => html`<${Head} key=${each.name} of=${each} sorted=${sorted} onSort=${onSort} />`)}</tr></thead>
      <tbody>
        ${from > 0 && html`<tr key="above" aria-hidden="true" style=${{ height: `${from * height}px` }}></tr>`}
        ${items.slice(from, to).map((item, at) => html`<tr key=${keyOf(item)} aria-rowindex=${from + at + 2} style=${{ height: `${height}px` }}>
          ${columns.map((each) => html`<td key=${each.name} class=${each.class}>${each.cell(item)}</td>`)}
        </tr>`)}
        ${to < items.length && html`<tr key="below" aria-hidden="true" style=${{ height: `${(items.length - to) * height}px` }}></tr>`}
      </tbody>
    </table>
  </div>`;
}

function Head({ of, sorted, onSort }) {
  if (!of.sort) return html`<th scope="col" class=${of.class}>${of.label}</th>`;
  const is = sorted === of.name;
  return html`<th scope="col" class=${of.class} aria-sort=${is ? (of.sort === "most" ? "descending" : "ascending") : undefined}>
    <button class="plain" onClick=${() => onSort(of.name)}>${of.label}${is ? (of.sort === "most" ? " ▾" : " ▴") : ""}</button>
  </th>`;
}
