// One job: how it stands and why, what can be done about it, and tabs for all that is known of it.

import { html, useEffect, useState } from "../vendor/preact.js";
import { ago, count, moment, seconds } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { exitCodes, isOver, lasted, leftOut, pathOfJob, reasonOf, partCount } from "../job/jobs.js";
import { sentences, visible, visibleLines } from "../lib/text.js";
import { Facts, Loading, Problem, State, Tabs } from "../parts/basics.js";
import { Copy } from "../parts/command.js";
import { JobActions } from "../job/job_actions.js";
import { Parts } from "../job/job_partitions.js";
import { JobLink, Labels, Name } from "../job/job_parts.js";
import { later } from "../parts/later.js";

const Chain = later(() => import("../job/job_chain.js"), "Chain");
const Schedule = later(() => import("../job/job_chain.js"), "Schedule");
const History = later(() => import("../job/job_history.js"), "History");
const Log = later(() => import("../job/job_log.js"), "Log");
const Results = later(() => import("./results.js"), "Results");
const Specification = later(() => import("../job/job_spec.js"), "Specification");

export function Job({ place, session }) {
  const id = place.parts[1];
  const { data, error, again } = usePoll(pathOfJob(id));
  const job = data?.Job;
  useEffect(() => { document.title = `${visible(job?.Name || id)} · Tarpon`; }, [job?.Name, id]);
  if (!job) return error ? html`<h1>Job ${visible(id)}</h1><${Problem} error=${error} />` : html`<${Loading} />`;
  const tabs = tabsOf(job);
  const tab = tabs.some(([name]) => name === place.query.tab) ? place.query.tab : tabs[0][0];
  const to = (name, more = {}) => linkTo(["jobs", job.ID], { tab: name, ...more });
  return html`
    <${Head} job=${job} session=${session} again=${again} />
    <${Problem} error=${error} />
    <${Tabs} of=${tabs} current=${tab} to=${to} label="Job" />
    <${Shown} key=${job.ID} tab=${tab} job=${job} place=${place} session=${session} to=${to} />
  `;
}

/** A schedule runs nothing itself: its runs are jobs of their own. */
function tabsOf(job) {
  const tabs = job.Schedule
    ? [["schedule", "Schedule"], ["history", "History"]]
    : [["parts", "Parts"], ["history", "History"], ["log", "Log"], ["results", "Results"]];
  return [...tabs, ["spec", "Specification"], ...(job.Chain || job.RunOf ? [["chain", "Chain"]] : [])];
}

function Shown({ tab, ...rest }) {
  switch (tab) {
    case "history": return html`<${History} ...${rest} />`;
    case "log": return html`<${Log} ...${rest} />`;
    case "results": return html`<${Results} ...${rest} />`;
    case "spec": return html`<${Specification} ...${rest} />`;
    case "chain": return html`<${Chain} ...${rest} />`;
    case "schedule": return html`<${Schedule} ...${rest} />`;
    default: return html`<${Parts} ...${rest} />`;
  }
}

function Head({ job, session, again }) {
  const over = isOver(job);
  const reason = reasonOf(job);
  const missing = leftOut(job);
  return html`<section class="head">
    <div class="row heading">
      <h1><${Name} of=${job.Name || job.ID} /></h1>
      <${State} name=${job.State.StateType} />
      <${JobActions} job=${job} session=${session} again=${again} />
    </div>
    <p class="id"><code>${visible(job.ID)}</code> <${Copy} text=${job.ID} label="Copy" /></p>
    ${reason && html`<p class="why" data-state=${job.State.StateType}>${visibleLines(reason)}</p>`}
    ${missing > 0 && html`<div class="problem warning" role="alert"><strong>The results are not whole.</strong>
      <div>The content of ${count(missing)} ${missing === 1 ? "entry" : "entries"} could not be read, and is not in them.</div></div>`}
    <${Waits} job=${job} />
    <${Facts} of=${[
      ["Namespace", visible(job.Namespace)],
      ["Version", job.Version > 1 ? `${job.Version}, submitted ${moment(job.SubmitTime)}` : null],
      ["Created", html`${moment(job.CreateTime)} <small>${ago(job.CreateTime)}</small>`],
      ["Ended", over ? html`${moment(job.ModifyTime)} <small>${ago(job.ModifyTime)}</small>` : null],
      [over ? "Took" : "For", job.Schedule ? null : seconds(lasted(job))],
      ["Parts", job.Schedule || (job.Type === "ops" && !job.Targets?.length) ? null : count(partCount(job))],
      ["Exit codes", exitCodes(job)],
      ["Priority", job.Priority || null],
      ["Run of", job.RunOf ? html`<${JobLink} id=${job.RunOf.JobID} name=${job.RunOf.Name} />` : null],
      ["Labels", Object.keys(job.Labels ?? {}).length ? html`<${Labels} of=${job.Labels} />` : null],
    ]} />
  </section>`;
}

/** What its parts wait for, node by node, for who asks; at once where nothing of it runs. */
function Waits({ job }) {
  const state = job.State.StateType;
  const failed = state === "Failed" && partCount(job) > 1;
  const wanted = state === "Queued" || failed || Boolean(job.State.Details?.WaitsFor);
  const [open, setOpen] = useState(false);
  const { data, error } = usePoll(wanted && open ? pathOfJob(job.ID, "/waits") : null, { limit: 50 }, isOver(job) ? 0 : 4);
  if (!wanted) return null;
  return html`<details class="waits" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${failed ? "Why its parts have failed" : "What each node lacks for it"}</summary>
    <${Problem} error=${error} />
    ${data && html`<p>${sentences(data.Summary)}</p>
      ${data.Asks && html`<p>It asks for ${visible(data.Asks)}.</p>`}
      <ul>${(data.Notes ?? []).map((note, number) => html`<li key=${number}>${sentences(note)}</li>`)}</ul>
      ${data.Nodes?.length > 0 && html`<div class="scroll"><table>
        <thead><tr><th scope="col">Node</th><th scope="col">Standing</th><th scope="col">What it lacks</th></tr></thead>
        <tbody>${data.Nodes.map((node) => html`<tr key=${node.NodeID}>
          <td><a href=${linkTo(["nodes", node.NodeID])}>${visible(node.NodeID)}</a></td>
          <td>${visible(node.Standing)}</td><td>${node.Lacks.map(visible).join(" ")}</td></tr>`)}</tbody>
      </table></div>`}
      ${data.NodesTotal > (data.Nodes?.length ?? 0) && html`<p>${count(data.NodesTotal)} nodes in all.</p>`}`}
  </details>`;
}
