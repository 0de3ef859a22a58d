// The log of a job: which attempt's, and what that has written.

import { html, useEffect, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";
import { count } from "../lib/format.js";
import { usePoll } from "../lib/hooks.js";
import { isOver, partCount, pathOfJob } from "./jobs.js";
import { stateName } from "./phases.js";
import { visible } from "../lib/text.js";
import { Empty, Loading, Problem } from "../parts/basics.js";
import { LogView } from "./log_view.js";

/** A part that runs says most, then one that has failed. */
const FIRST = ["r", "f", "a", "p", "c", "s"];

export function Log({ job, place, to }) {
  const { execution, part } = place.query;
  const total = partCount(job);
  const chosen = usePartOf(job, execution, part, total);
  const { data, error } = usePoll(chosen === null ? null : pathOfJob(job.ID, "/executions"),
    { partitions: chosen, limit: 1000 }, isOver(job) ? 10 : 2);
  if (error && !data) return html`<${Problem} error=${error} />`;
  if (chosen !== null && !data) return html`<${Loading} />`;
  const attempts = data?.Items ?? [];
  const shown = attempts.find((each) => each.ID === execution) ?? attempts.at(-1);
  return html`
    <div class="row">
      ${total > 1 && html`<div><label for="log-part">Part (0 to ${count(total - 1)})</label>
        <input id="log-part" type="number" min="0" max=${total - 1} value=${chosen ?? ""}
          onChange=${(event) => { location.hash = to("log", { part: event.target.value }); }} /></div>`}
      ${attempts.length > 1 && html`<div><label for="log-attempt">Attempt</label>
        <select id="log-attempt" value=${shown?.ID} onChange=${(event) => { location.hash = to("log", { execution: event.target.value }); }}>
          ${attempts.map((each, number) => html`<option key=${each.ID} value=${each.ID}>${number + 1}: ${stateName(each)} on ${visible(each.NodeID)}</option>`)}
        </select></div>`}
    </div>
    ${shown ? html`<${LogView} key=${shown.ID} job=${job} execution=${shown} to=${to} />`
      : html`<${Empty}>${isOver(job) ? "It was never begun, so it has written nothing." : "It is on no node yet; what it writes is shown here."}<//>`}
  `;
}

/** The part that is meant by the address, or the first one that is worth looking at. */
function usePartOf(job, execution, part, total) {
  const [known, setKnown] = useState({ execution: null, part: null });
  const said = /^\d{1,6}$/.test(part ?? "") && Number(part) < total ? Number(part) : total === 1 ? 0 : null;
  const wanted = said === null && known.execution !== (execution ?? "");
  useEffect(() => {
    if (!wanted) return;
    const mine = new AbortController();
    findPart(job, execution, mine.signal).then((found) => setKnown({ execution: execution ?? "", part: found }), () => {});
    return () => mine.abort();
  }, [wanted, execution]);
  return said ?? known.part;
}

async function findPart(job, execution, signal) {
  if (execution) {
    const { Items: lines } = await get(pathOfJob(job.ID, "/history"), { execution_id: execution, all_job_versions: true, limit: 1 }, signal);
    if (lines?.length && lines[0].PartitionIndex !== undefined) return lines[0].PartitionIndex;
  }
  const { States: states } = await get(pathOfJob(job.ID, "/parts"), {}, signal);
  return Math.max(0, ...FIRST.map((letter) => states.indexOf(letter)).filter((found) => found >= 0).slice(0, 1));
}
