// A list of the API as a table, with what was asked for and could not be had; rows beyond a page are told, not shown.

import { html } from "../vendor/preact.js";
import { Empty, Loading, Problem } from "./basics.js";

const MOST_ROWS = 200;

/** `columns` are `[{label, cell(item), class}]`. Without any item there is `empty` instead. */
export function Listed({ label, of, items, columns, keyOf, empty }) {
  const found = of.data ? items(of.data) : [];
  return html`<${Problem} error=${of.error} />
    ${!of.data && !of.error && html`<${Loading} />`}
    ${of.data && !found.length && html`<${Empty}>${empty}<//>`}
    ${found.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
      <thead><tr>${columns.map((each) => html`<th key=${each.label} scope="col" class=${each.class}>${each.label || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
      <tbody>${found.slice(0, MOST_ROWS).map((item) => html`<tr key=${keyOf(item)}>${columns.map((each) => html`<td key=${each.label} class=${each.class}>${each.cell(item)}</td>`)}</tr>`)}</tbody>
    </table></div>`}
    ${found.length > MOST_ROWS && html`<p class="soft">These are ${MOST_ROWS} of ${found.length}.</p>`}`;
}

/** Why somebody sees nothing here. */
export const NotAllowed = ({ capability, what, everywhere }) =>
  html`<p class="problem warn">${what} takes the capability <code>${capability}</code>${everywhere ? ", for all namespaces" : ""}, which you do not have. Who makes users can give it: <code>tarpon user create --capability ${capability}</code>.</p>`;
