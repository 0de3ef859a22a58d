// Jobs with a schedule: when each is run next, paused, resumed, run at once.

import { html } from "../vendor/preact.js";
import { put } from "../lib/api.js";
import { newToken } from "../lib/draft.js";
import { count, moment } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { may } from "../lib/may.js";
import { command, visible } from "../lib/text.js";
import { Asked } from "./asked.js";
import { Listed, NotAllowed } from "../parts/listed.js";

const ACTIONS = {
  pause: ["Pause …", "It begins no further run. What is due meanwhile is not made up for."],
  resume: ["Resume …", "It goes on with what is due from now on."],
  "run-now": ["Run now …", "One run begins at once, beside those that are due."],
};

export function Schedules({ session }) {
  const isSeen = may(session, "read:job");
  const of = usePoll(isSeen ? "/orchestrator/jobs" : null, { schedules: true, namespace: "*", limit: 200 }, 5);
  if (!isSeen) return html`<${NotAllowed} what="To see schedules" capability="read:job" />`;
  const isAllowed = may(session, "write:job");
  const columns = [
    { label: "Job", cell: (job) => html`<a href=${linkTo(["jobs", job.ID])}>${visible(job.Name)}</a><br /><small>${visible(job.Namespace)}</small>` },
    { label: "When", cell: (job) => visible(typeof job.Schedule === "string" ? job.Schedule : [job.Schedule.Cron, job.Schedule.TimeZone].filter(Boolean).join(" ")) },
    { label: "Next", cell: (job) => (job.ScheduleStatus?.PausedSince ? `paused since ${moment(job.ScheduleStatus.PausedSince)}` : moment(job.ScheduleStatus?.Next?.[0])) },
    { label: "Runs", class: "number", cell: (job) => count(job.ScheduleStatus?.Begun ?? 0) },
    { label: "go on", class: "number", cell: (job) => count(job.ScheduleStatus?.Going ?? 0) },
    { label: "missed", class: "number", cell: (job) => count(job.ScheduleStatus?.Missed ?? 0) },
    { label: "", cell: (job) => isAllowed && html`<div class="row">${(job.ScheduleStatus?.PausedSince ? ["resume", "run-now"] : ["pause", "run-now"]).map((action) => html`<${Act} key=${action} job=${job} action=${action} onDone=${of.again} />`)}</div>` },
  ];
  return html`<${Listed} label="Schedules" of=${of} items=${(data) => data.Items.filter((job) => job.State.StateType !== "Stopped")} columns=${columns} keyOf=${(job) => job.ID} empty="No job has a schedule." />`;
}

function Act({ job, action, onDone }) {
  const [label, tells] = ACTIONS[action];
  return html`<${Asked} label=${label} title=${`${label.replace(" …", "")}: ${visible(job.Name)}`} action=${label.replace(" …", "")} onDone=${onDone}
    text=${command("tarpon", "job", "schedule", action, job.ID)}
    act=${() => put(`/orchestrator/jobs/${encodeURIComponent(job.ID)}/schedule`, { Action: action, ...(action === "run-now" && { IdempotencyToken: newToken() }) })}>
    <p>${tells}</p><//>`;
}
