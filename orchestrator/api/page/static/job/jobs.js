// Jobs as the API tells them: what views say about one.

import { count, instant } from "../lib/format.js";
import { visible } from "../lib/text.js";

export const JOBS = "/orchestrator/jobs";
export const STATES = ["Pending", "Queued", "Running", "Completed", "Failed", "Stopped"];
const ENDED = new Set(["Completed", "Failed", "Stopped"]);

export const pathOfJob = (id, rest = "") => `${JOBS}/${encodeURIComponent(id)}${rest}`;
export const isOver = (job) => ENDED.has(job.State.StateType);

/** Why it is in its state, and what its waiting parts wait for. */
export const reasonOf = (job) => [job.State.Message, job.State.Details?.WaitsFor].filter(Boolean).join(" ");

/** An ops job has one for each of its nodes, once these are chosen. */
export const partCount = (job) => job.Targets?.length || job.Count || 1;

/** What a part is called: of an ops job its node, too. */
export const partName = (job, part) => `Part ${count(part)}${job.Targets?.[part] ? ` (node ${visible(job.Targets[part])})` : ""}`;

/** How many parts' tasks have ended by themselves, of how many. */
export function endedParts(job) {
  const ended = Object.values(job.ExitCodes ?? {}).reduce((sum, each) => sum + each, 0);
  return [ended, partCount(job)];
}

/** `0: 23, 1: 1`, for exit codes beside 0. */
export const exitCodes = (job) =>
  Object.entries(job.ExitCodes ?? {}).map(([code, parts]) => `${code}: ${parts.toLocaleString("en")}`).join(", ");

/** For how long it has run, or ran, in seconds. */
export const lasted = (job, now = Date.now()) =>
  Math.max(0, ((isOver(job) ? instant(job.ModifyTime) : now) - instant(job.SubmitTime || job.CreateTime)) / 1000);

/** Of how many entries the results lack the content. */
export const leftOut = (job) => Number(job.State.Details?.LeftOutCount ?? 0);

/** What the author of a job wrote, without what the server adds. */
export function specOf(job) {
  const own = ["Name", "Namespace", "Type", "Priority", "Count", "Constraints", "Meta", "Labels", "MaxParallel", "Needs",
    "Schedule", "Tasks"];
  const isSaid = (value) => !(value === undefined || value === null || value === "" || value === 0
    || (typeof value === "object" && Object.keys(value).length === 0));
  return Object.fromEntries(own.map((name) => [name, job[name]]).filter(([, value]) => isSaid(value)));
}
