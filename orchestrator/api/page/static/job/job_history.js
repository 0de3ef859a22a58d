// The history of a job: what happened and why, live.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { followHistory } from "./event_stream.js";
import { count, moment } from "../lib/format.js";
import { usePoll } from "../lib/hooks.js";
import { partCount, pathOfJob } from "./jobs.js";
import { sentences, visible } from "../lib/text.js";
import { Empty, Loading, Problem } from "../parts/basics.js";

const A_PAGE = 100;
/** A job of more parts is told without its attempts until they are asked for: these are many lines. */
const MANY_PARTS = 500;

export function History({ job, place, to }) {
  const many = partCount(job) > MANY_PARTS;
  const all = place.query.all ? place.query.all === "yes" : !many;
  const setAll = (wanted) => { location.hash = to("history", { all: wanted ? "yes" : "no" }); };
  return html`
    ${many && html`<label class="check"><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} />
      What happened to each of its ${count(partCount(job))} parts, too</label>`}
    ${all ? html`<${Live} key=${job.Version} job=${job} to=${to} />` : html`<${OfJob} job=${job} to=${to} />`}
  `;
}

function Live({ job, to }) {
  const [{ lines, dropped }, take] = useState({ lines: null, dropped: 0 });
  const [live, setLive] = useState(undefined);
  useEffect(() => followHistory(job.ID, (known, gone) => take({ lines: known, dropped: gone }), setLive), [job.ID]);
  const told = live === null ? "The job has ended: this is all." : live === false ? "The connection is lost; it is tried again." : live ? "Live." : "";
  if (!lines && live !== false) return html`<${Loading} />`;
  return html`<p role="status" class="soft">${told}
      ${dropped > 0 && ` The ${count(dropped)} oldest lines are not kept here; tarpon job history has them.`}</p>
    <${Lines} lines=${lines ?? []} to=${to} />`;
}

function OfJob({ job, to }) {
  const { data, error } = usePoll(pathOfJob(job.ID, "/history"), { event_type: "job", all_job_versions: true, limit: 1000 });
  if (!data) return error ? html`<${Problem} error=${error} />` : html`<${Loading} />`;
  return html`<${Lines} lines=${data.Items} to=${to} />`;
}

/** The newest page at first; words narrow them down. */
function Lines({ lines, to }) {
  const [words, setWords] = useState("");
  const [errors, setErrors] = useState(false);
  const [page, setPage] = useState(null);
  const found = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    if (!wanted && !errors) return lines;
    return lines.filter(({ Event, ExecutionID = "" }) => (!errors || Event.Details?.IsError === "true")
      && (!wanted || `${Event.Topic} ${Event.Message} ${ExecutionID} ${Event.Details?.NodeID ?? ""}`.toLowerCase().includes(wanted)));
  }, [lines, words, errors]);
  const pages = Math.max(1, Math.ceil(found.length / A_PAGE));
  const at = Math.min(page ?? pages, pages);
  const shown = found.slice((at - 1) * A_PAGE, at * A_PAGE);
  return html`
    <div class="row">
      <div><label for="history-words">Find</label>
        <input id="history-words" type="search" value=${words} onInput=${(event) => { setWords(event.target.value); setPage(null); }} /></div>
      <label class="check"><input type="checkbox" checked=${errors} onChange=${(event) => setErrors(event.target.checked)} /> Problems only</label>
      <span>${count(found.length)} ${found.length === 1 ? "line" : "lines"}</span>
      ${pages > 1 && html`<nav class="row" aria-label="Pages of lines">
        <button type="button" disabled=${at <= 1} onClick=${() => setPage(at - 1)}>Earlier</button>
        <span>${count(at)} of ${count(pages)}</span>
        <button type="button" disabled=${at >= pages} onClick=${() => setPage(at + 1 >= pages ? null : at + 1)}>Later</button>
      </nav>`}
    </div>
    ${shown.length ? html`<div class="scroll"><table class="history">
      <thead><tr><th scope="col">Time</th><th scope="col">Of</th><th scope="col">What happened</th></tr></thead>
      <tbody>${shown.map((line) => html`<${Line} key=${line.SeqNum} line=${line} to=${to} />`)}</tbody>
    </table></div>` : html`<${Empty}>No line is like this.<//>`}
  `;
}

function Line({ line, to }) {
  const { Event: event, PartitionIndex: part, ExecutionID: execution, JobVersion: version } = line;
  const { IsError: isError, Hint: hint, ErrorCode: code, NodeID: node } = event.Details ?? {};
  const of = execution ? (part === undefined ? visible(execution).slice(0, 10) : `Part ${count(part)}`) : "Job";
  return html`<tr class=${isError === "true" ? "bad" : ""}>
    <td class="time"><time datetime=${line.Time}>${moment(line.Time)}</time></td>
    <td>${execution && part !== undefined ? html`<a href=${to("parts", { part })}>${of}</a>` : of}${version > 1 ? html` <small>v${version}</small>` : ""}</td>
    <td class="said"><small>${visible(event.Topic)}</small><span>${sentences(event.Message)}</span>
      ${hint && html`<small>${visible(hint)}</small>`}
      ${code && html`<small>${visible(code)}${node ? ` on ${visible(node)}` : ""}</small>`}</td>
  </tr>`;
}
