// Rows and columns, and a plot of the columns that are numbers.

import { html, useMemo } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { shortened } from "../lib/text.js";
import { Facts } from "../parts/basics.js";
import { textOf } from "../results/content.js";
import { tableOfNpy } from "../results/npy.js";
import { tableOfParquet } from "../results/parquet.js";
import { cellText, numericColumns, tableOfLines, tableOfText } from "../results/tables.js";
import { Loaded, useLoaded } from "./loaded.js";
import { ColumnPlot } from "./column_plot.js";

const TEXT_BYTES = 512 << 10;
const SHOWN_ROWS = 100;
const SHOWN_CHARACTERS = 200;

const READERS = {
  table: textual(tableOfText),
  lines: textual(tableOfLines),
  parquet: (file, signal) => tableOfParquet(file.size, (from, to) => file.read(from, to, signal)),
  npy: (file, signal) => tableOfNpy((from, to) => file.read(from, to, signal)),
};

function textual(reader) {
  return async (file, signal) => reader(textOf(await file.read(0, TEXT_BYTES, signal)).text, file.size > TEXT_BYTES);
}

/** `kind` is one of READERS. */
export function TablePreview({ file, kind }) {
  const loaded = useLoaded((signal) => READERS[kind](file, signal), [file, kind]);
  return html`<${Loaded} of=${loaded}>${(table) => html`<${Table} table=${table} />`}<//>`;
}

function Table({ table: { columns, rows, more, width, facts } }) {
  const numbers = useMemo(() => numericColumns({ columns, rows }), [columns, rows]);
  const shown = rows.slice(0, SHOWN_ROWS);
  return html`${facts && html`<${Facts} of=${facts} />`}
    ${numbers.length > 0 && rows.length > 1 && html`<${ColumnPlot} columns=${numbers} />`}
    <p class="soft">${told(rows.length, shown.length, more, columns.length, width)}</p>
    ${columns.length > 0 && html`<div class="scroll preview-table" tabindex="0" role="region" aria-label="Content as a table"><table>
      <thead><tr><th scope="col">#</th>${columns.map((name, at) => html`<th key=${at} scope="col">${shortened(name, 80)}</th>`)}</tr></thead>
      <tbody>${shown.map((row, number) => html`<tr key=${number}><td class="soft">${number + 1}</td>
        ${columns.map((_, at) => html`<td key=${at}>${shortened(cellText(row[at]), SHOWN_CHARACTERS)}</td>`)}</tr>`)}</tbody>
    </table></div>`}`;
}

function told(read, shown, more, columns, width) {
  const rows = more || read > shown ? `The first ${count(shown)} rows` : `${count(read)} rows`;
  return `${rows}${width > columns ? `, and ${count(columns)} of ${count(width)} columns` : ""}.`;
}
