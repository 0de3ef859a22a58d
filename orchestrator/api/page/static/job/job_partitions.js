// The parts of a job: a grid of all, a legend that filters it, a table of the same, and the attempts at the chosen one.

import { html, useMemo, useRef } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { usePoll } from "../lib/hooks.js";
import { isOver, pathOfJob } from "./jobs.js";
import { countsOf, nameOfPart, PART_STATES, partsOf, rangesOf } from "./part_states.js";
import { Attempts } from "./attempts.js";
import { Empty, Loading, Problem } from "../parts/basics.js";
import { PartGrid } from "./part_grid.js";
import { PartTable } from "./part_table.js";

const A_PAGE = 25;
/** Between looks at a job that has ended: it may be run again. */
const OVER_SECONDS = 10;

export function Parts({ job, place, to }) {
  const over = isOver(job);
  const { data, error } = usePoll(pathOfJob(job.ID, "/parts"), {}, over ? OVER_SECONDS : 2);
  const { part, show = "", page = "1" } = place.query;
  const states = data?.States ?? "";
  const chosen = numberOf(part, states.length) ?? (states.length === 1 ? 0 : null);
  const here = { part, show, page };
  const go = (changes) => { location.hash = to("parts", { ...here, ...changes }); };
  if (!data) return error ? html`<${Problem} error=${error} />` : html`<${Loading} />`;
  return html`
    <${Problem} error=${error} />
    ${states.length > 1 && html`
      <${Legend} states=${states} show=${show} over=${over} onShow=${(letters) => go({ show: letters, page: "" })} />
      <${PartGrid} job=${job} states=${states} letters=${show} chosen=${chosen} over=${over} onChoose=${(each) => go({ part: each })} />`}
    ${chosen !== null && html`<${Attempts} key=${chosen} job=${job} part=${chosen} letter=${states[chosen]} to=${to}
      onClose=${states.length > 1 ? () => go({ part: "" }) : null} />`}
    ${states.length > 1 && html`<${Table} job=${job} states=${states} show=${show} page=${Number(page) || 1} over=${over} go=${go} to=${to} />`}
  `;
}

function numberOf(text, number) {
  return /^\d{1,6}$/.test(text ?? "") && Number(text) < number ? Number(text) : null;
}

function Legend({ states, show, over, onShow }) {
  const counts = useMemo(() => countsOf(states), [states]);
  const toggle = (letter) => onShow(show.includes(letter) ? show.replaceAll(letter, "") : show + letter);
  return html`<div class="chips legend" role="group" aria-label="Parts by state">
    ${Object.entries(PART_STATES).filter(([letter]) => counts[letter] || show.includes(letter)).map(([letter, { tone, shape }]) => html`
      <button key=${letter} type="button" class="chip" aria-pressed=${show.includes(letter) ? "true" : "false"} onClick=${() => toggle(letter)}>
        <span class=${`part-shape ${shape}`} style=${{ color: `var(${tone})` }} aria-hidden="true" />
        ${nameOfPart(letter, over)} <strong>${count(counts[letter] ?? 0)}</strong>
      </button>`)}
    ${show && html`<button type="button" class="small" onClick=${() => onShow("")}>All ${count(states.length)}</button>`}
  </div>`;
}

/** Only the parts of one page are asked for, whatever the job has; while others come into it, what is known stays. */
function Table({ job, states, show, page, over, go, to }) {
  const wanted = useMemo(() => partsOf(states, show), [states, show]);
  const last = Math.max(1, Math.ceil(wanted.length / A_PAGE));
  const at = Math.min(page, last);
  const shown = wanted.slice((at - 1) * A_PAGE, at * A_PAGE);
  const { data, error } = usePoll(shown.length ? pathOfJob(job.ID, "/executions") : null,
    { partitions: rangesOf(shown), limit: 1000 }, over ? OVER_SECONDS : 2);
  const known = useRef([]);
  if (data) known.current = data.Items;
  if (!wanted.length) return html`<${Empty}>No part is like this.<//>`;
  return html`
    <h2>Parts ${count(wanted.length)}${show ? ` of ${count(states.length)}` : ""}</h2>
    <${Problem} error=${error} />
    <${PartTable} parts=${shown} states=${states} executions=${known.current} over=${over} to=${to} here=${{ show, page: at }} />
    ${last > 1 && html`<nav class="row pages" aria-label="Pages of parts">
      <button type="button" disabled=${at <= 1} onClick=${() => go({ page: at - 1 })}>Previous</button>
      <label class="inline">Page <input type="number" min="1" max=${last} value=${at}
        onChange=${(event) => go({ page: Math.min(last, Math.max(1, Number(event.target.value) || 1)) })} /></label> of ${count(last)}
      <button type="button" disabled=${at >= last} onClick=${() => go({ page: at + 1 })}>Next</button>
    </nav>`}
  `;
}
