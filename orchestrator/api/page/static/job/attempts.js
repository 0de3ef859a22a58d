// The attempts at one part of a job: where each ran, how it ended and why, and how its time went by.

import { html, useEffect, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";
import { bytes, count, instant, moment, seconds } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { isOver, partName, pathOfJob } from "./jobs.js";
import { nameOfPart } from "./part_states.js";
import { hasEnded, phasesOf, stateName } from "./phases.js";
import { sentences, visible, visibleLines } from "../lib/text.js";
import { Empty, Facts, Loading, Problem } from "../parts/basics.js";
import { Timeline } from "./timeline.js";

const MOST_LINES = 1000;

export function Attempts({ job, part, letter, to, onClose }) {
  const { data, error } = usePoll(pathOfJob(job.ID, "/executions"), { partitions: part, limit: 1000 }, isOver(job) ? 10 : 2);
  const attempts = data?.Items;
  return html`<section class="attempts card" aria-labelledby="attempts-title">
    <div class="row heading"><h2 id="attempts-title">${partName(job, part)}: ${nameOfPart(letter, isOver(job))}</h2>
      ${onClose && html`<button type="button" class="small" onClick=${onClose}>Close</button>`}</div>
    <${Problem} error=${error} />
    ${!attempts && !error && html`<${Loading} />`}
    ${attempts && !attempts.length && html`<${Empty}>${isOver(job) ? "It was never begun." : "It is on no node yet."}<//>`}
    ${attempts?.map((each, number) => html`<${Attempt} key=${each.ID} job=${job} execution=${each} number=${number} of=${attempts.length}
      since=${number ? instant(attempts[number - 1].ModifyTime) : instant(job.SubmitTime || job.CreateTime)} to=${to} />`).reverse()}
  </section>`;
}

function Attempt({ job, execution, number, of, since, to }) {
  const lines = useLines(job, execution);
  const state = stateName(execution);
  const output = execution.RunOutput;
  const facts = execution.PublishedResult?.Params;
  const phases = phasesOf(execution, lines, execution.JobVersion === job.Version ? since : null, Date.now());
  return html`<article class="attempt">
    <div class="row heading">
      <h3>${of > 1 ? `Attempt ${number + 1} of ${of}: ` : ""}${state}</h3>
      <span class="row">
        <a href=${to("log", { execution: execution.ID })}>Log</a>
        ${facts && html`<a href=${to("results", { execution: execution.ID })}>Result</a>`}
      </span>
    </div>
    ${execution.ComputeState?.Message && html`<p class="why" data-state=${state}>${sentences(execution.ComputeState.Message)}</p>`}
    <${Timeline} phases=${phases} />
    <${Facts} of=${[
      ["Node", html`<a href=${linkTo(["nodes", execution.NodeID])}>${visible(execution.NodeID)}</a>`],
      ["Execution", html`<code>${visible(execution.ID)}</code>`],
      ["Placed", moment(execution.CreateTime)],
      [hasEnded(execution) ? "Ended" : "Changed", moment(execution.ModifyTime)],
      ["Exit code", output ? String(output.ExitCode) : null],
      ["Ran", execution.RunSeconds ? seconds(execution.RunSeconds) : null],
      ["Most memory", execution.PeakMemory ? bytes(execution.PeakMemory) : null],
      ["GPUs", (execution.GPUs ?? []).map(visible).join(", ")],
      ["Inputs", execution.Inputs?.Files ? `${count(execution.Inputs.Files)} files, ${bytes(execution.Inputs.Size ?? 0)}` : null],
      ["Result", facts ? `${bytes(facts.Size ?? 0)}, ${count(facts.Entries ?? 0)} entries` : null],
      ["Version", execution.JobVersion !== job.Version ? `kept of version ${execution.JobVersion}` : null],
    ]} />
    ${facts?.Warnings?.length > 0 && html`<div class="problem warning"><strong>${count(facts.WarningsCount || facts.Warnings.length)} warnings about the result</strong>
      <ul>${facts.Warnings.map((text, index) => html`<li key=${index}>${visible(text)}</li>`)}</ul></div>`}
    ${(output?.Stdout || output?.stderr) && html`<details><summary>Beginning of its output</summary>
      ${output.Stdout && html`<h4>stdout${output.StdoutTruncated ? " (cut)" : ""}</h4><pre tabindex="0">${visibleLines(output.Stdout)}</pre>`}
      ${output.stderr && html`<h4>stderr${output.StderrTruncated ? " (cut)" : ""}</h4><pre tabindex="0">${visibleLines(output.stderr)}</pre>`}</details>`}
    ${lines.length > 0 && html`<details><summary>History of this attempt</summary><ul class="lines">
      ${lines.map((line) => html`<li key=${line.SeqNum}><time>${moment(line.Time)}</time> ${visible(line.Event.Topic)}: ${sentences(line.Event.Message)}</li>`)}</ul></details>`}
  </article>`;
}

/** The history of one attempt, asked for whenever that has changed. */
function useLines(job, execution) {
  const [lines, setLines] = useState([]);
  useEffect(() => {
    const mine = new AbortController();
    get(pathOfJob(job.ID, "/history"), { execution_id: execution.ID, all_job_versions: true, limit: MOST_LINES }, mine.signal)
      .then((data) => setLines(data.Items ?? []), () => {});
    return () => mine.abort();
  }, [execution.ID, execution.Revision]);
  return lines;
}
