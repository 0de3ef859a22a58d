// Some parts of a job as a table, each with its last attempt.

import { html } from "../vendor/preact.js";
import { bytes, count, seconds } from "../lib/format.js";
import { linkTo } from "../lib/hooks.js";
import { nameOfPart, PART_STATES } from "./part_states.js";
import { sentences, visible } from "../lib/text.js";

export function PartTable({ parts, states, executions, over, to, here }) {
  const attempts = new Map();
  for (const each of executions ?? []) {
    const known = attempts.get(each.PartitionIndex ?? 0) ?? [];
    attempts.set(each.PartitionIndex ?? 0, [...known, each]);
  }
  return html`<div class="scroll"><table>
    <thead><tr><th scope="col" class="number">Part</th><th scope="col">State</th><th scope="col">Node</th>
      <th scope="col" class="number">Attempts</th><th scope="col" class="number">Exit code</th><th scope="col" class="number">Ran</th>
      <th scope="col" class="number">Memory</th><th scope="col">Why</th></tr></thead>
    <tbody>${parts.map((part) => html`<${Row} key=${part} part=${part} letter=${states[part]} over=${over}
      attempts=${attempts.get(part) ?? []} to=${to} here=${here} />`)}</tbody>
  </table></div>`;
}

function Row({ part, letter, attempts, over, to, here }) {
  const last = attempts.at(-1);
  const { tone, shape } = PART_STATES[letter] ?? {};
  return html`<tr>
    <td class="number"><a href=${to("parts", { ...here, part })}>${count(part)}</a></td>
    <td class="part-state"><span class=${`part-shape ${shape}`} style=${{ color: `var(${tone})` }} aria-hidden="true" /> ${nameOfPart(letter, over)}</td>
    <td>${last && html`<a href=${linkTo(["nodes", last.NodeID])}>${visible(last.NodeID)}</a>`}</td>
    <td class="number">${attempts.length || ""}</td>
    <td class="number">${last?.RunOutput ? last.RunOutput.ExitCode : ""}</td>
    <td class="number">${last?.RunSeconds ? seconds(last.RunSeconds) : ""}</td>
    <td class="number">${last?.PeakMemory ? bytes(last.PeakMemory) : ""}</td>
    <td class="reason"><span>${sentences(last?.ComputeState?.Message)}</span></td>
  </tr>`;
}
