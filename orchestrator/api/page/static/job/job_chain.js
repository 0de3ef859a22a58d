// What a job needs and what needs it; and when a schedule is due, and its runs.

import { html, useState } from "../vendor/preact.js";
import { put } from "../lib/api.js";
import { count, moment } from "../lib/format.js";
import { pathOfJob } from "./jobs.js";
import { may } from "../lib/may.js";
import { command, visible } from "../lib/text.js";
import { Empty, Facts, Problem, State } from "../parts/basics.js";
import { Command } from "../parts/command.js";
import { JobLink } from "./job_parts.js";

export function Chain({ job }) {
  const { Needs: needs = [], NeededBy: followers = [], NeededByTotal: total = 0 } = job.Chain ?? {};
  return html`
    ${job.RunOf && html`<h2>Schedule</h2><p>A run of <${JobLink} id=${job.RunOf.JobID} name=${job.RunOf.Name} />,
      ${job.RunOf.ByHand ? " asked for by hand at " : " due at "}${moment(job.RunOf.Due)}.</p>`}
    ${job.Chain && html`<h2>Needs</h2><${Links} of=${needs} none="It needs no other job." />
      <h2>Needed by</h2><${Links} of=${followers} none="No other job needs it." />
      ${total > followers.length && html`<p>${count(total)} jobs in all.</p>`}`}
  `;
}

function Links({ of, none }) {
  if (!of.length) return html`<${Empty}>${none}<//>`;
  return html`<div class="scroll"><table>
    <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Version</th><th scope="col">Condition</th></tr></thead>
    <tbody>${of.map((link) => html`<tr key=${link.JobID}>
      <td><${JobLink} id=${link.JobID} name=${link.Name} /></td>
      <td>${link.State ? html`<${State} name=${link.State} />` : "not known any more"}</td>
      <td>${link.JobVersion || ""}</td><td>${link.AnyCode ? "any exit code" : ""}</td>
    </tr>`)}</tbody>
  </table></div>`;
}

export function Schedule({ job, session }) {
  const status = job.ScheduleStatus ?? {};
  const runs = status.Runs ?? [];
  return html`
    <${Facts} of=${[
      ["Cron", html`<code>${visible(job.Schedule.Cron ?? job.Schedule)}</code>`],
      ["Time zone", visible(job.Schedule.TimeZone || "UTC")],
      ["Paused since", status.PausedSince ? moment(status.PausedSince) : null],
      ["Next", (status.Next ?? []).map((due) => moment(due)).join(", ")],
      ["Begun", count(status.Begun ?? 0)],
      ["Missed", status.Missed ? count(status.Missed) : null],
      ["Left out beside earlier runs", status.LeftOut ? count(status.LeftOut) : null],
      ["Refused", status.Refused ? count(status.Refused) : null],
      ["Going", status.Going ? count(status.Going) : null],
    ]} />
    ${may(session, "write:job") && html`<${Controls} job=${job} paused=${Boolean(status.PausedSince)} />`}
    <h2>Runs</h2>
    ${runs.length ? html`<div class="scroll"><table>
      <thead><tr><th scope="col">Run</th><th scope="col">State</th><th scope="col">Due</th></tr></thead>
      <tbody>${runs.map((run) => html`<tr key=${run.JobID}>
        <td><${JobLink} id=${run.JobID} name=${run.Name} /></td><td><${State} name=${run.State} /></td>
        <td>${moment(run.Due)}${run.ByHand ? ", by hand" : ""}</td></tr>`)}</tbody>
    </table></div>` : html`<${Empty}>No run has begun yet.<//>`}
  `;
}

function Controls({ job, paused }) {
  const [error, setError] = useState(null);
  const act = async (action) => {
    try {
      await put(pathOfJob(job.ID, "/schedule"), { Action: action });
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  const other = paused ? "resume" : "pause";
  return html`<div class="row">
      <button type="button" onClick=${() => act("run-now")}>Run now</button>
      <button type="button" onClick=${() => act(other)}>${paused ? "Resume" : "Pause"}</button>
    </div>
    <${Command} text=${`${command("tarpon", "job", "schedule", "run-now", job.ID)}\n${command("tarpon", "job", "schedule", other, job.ID)}`} />
    <${Problem} error=${error} />`;
}
