// The phases of an attempt: from when to when it waited, was prepared, ran and was published.

import { instant } from "../lib/format.js";

/** Numbers of the states of executions, as the API writes them. */
export const STATES = ["Undefined", "New", "AskForBid", "Bid accepted", "Refused", "Accepted", "Running", "Publishing",
  "BidRejected", "Completed", "Failed", "Cancelled"];
const ENDED = new Set(["Refused", "BidRejected", "Completed", "Failed", "Cancelled"]);

export const stateName = (execution) => STATES[execution.ComputeState?.StateType ?? 0] ?? "Unknown";
export const hasEnded = (execution) => ENDED.has(stateName(execution));

/**
 * `[{name, from, to, open}]` in milliseconds since 1970, the first one first; `open` is one that goes on at `now`.
 * `since` is from when on the attempt was waited for. `lines` are those of its history, which have the moments;
 * how long it took to fetch inputs and images, to pack and to send is told by the execution itself.
 */
export function phasesOf(execution, lines, since, now) {
  const placed = instant(execution.CreateTime);
  const changed = instant(execution.ModifyTime);
  const over = hasEnded(execution);
  const end = over ? changed : now;
  const at = (test) => {
    const found = lines.find((line) => test(line.Event));
    return found ? Date.parse(found.Time) : null;
  };
  const started = at((event) => event.Topic === "Running Execution" && event.Message.startsWith("Running on node "));
  const ended = at((event) => event.Topic === "Running Execution" && event.Message.startsWith("Task ended with exit code "))
    ?? (over && started !== null ? end : null);
  const phases = [];
  const add = (name, from, to) => {
    if (from === null || (to === null && over)) return;
    const until = to ?? now;
    if (until >= from) phases.push({ name, from, to: until, open: to === null });
  };
  if (since !== null) add("queue", Math.min(since, placed), placed);
  const begun = started ?? (ended !== null ? ended - (execution.RunSeconds ?? 0) * 1000 : over ? end : null);
  prepared(execution, lines, placed, begun, add);
  if (started === null && ended === null) return phases;
  const ran = execution.RunSeconds && ended !== null ? Math.max(begun, ended - execution.RunSeconds * 1000) : begun;
  add("run", ran, ended);
  if (ended === null) return phases;
  published(execution, ended, end, over, add);
  return phases;
}

/** What lies between the placement and the start of the task: the way to the node, inputs, the image. */
function prepared(execution, lines, placed, begun, add) {
  const until = begun ?? null;
  const told = lines.filter((line) => line.Event.Topic === "Preparing Execution");
  const firstOf = (pulls) => {
    const found = told.find((line) => line.Event.Message.startsWith("Pulling image ") === pulls);
    return found ? Date.parse(found.Time) : null;
  };
  const pulling = execution.PullSeconds && until ? until - execution.PullSeconds * 1000 : firstOf(true);
  const next = pulling ?? until;
  const fetching = execution.FetchSeconds && next ? next - execution.FetchSeconds * 1000 : firstOf(false);
  const first = Math.max(placed, fetching ?? pulling ?? until ?? placed);
  add("start", placed, fetching === null && pulling === null ? until : first);
  if (fetching !== null) add("fetch", Math.max(placed, fetching), next);
  if (pulling !== null) add("pull", Math.max(placed, pulling), until);
}

/** Packing and sending overlap: `archive` is the time in which nothing but packing held the result up. */
function published(execution, ended, end, over, add) {
  const facts = execution.PublishedResult?.Params;
  const name = stateName(execution);
  if (!facts?.PublishSeconds) {
    if (name === "Publishing" || (over && name !== "Completed" && end - ended > 50)) add("upload", ended, over ? end : null);
    return;
  }
  const packed = Math.min(facts.ArchiveSeconds ?? 0, facts.PublishSeconds) * 1000;
  const sent = Math.min(end, ended + facts.PublishSeconds * 1000);
  add("archive", ended, Math.min(ended + packed, sent));
  add("upload", Math.min(ended + packed, sent), sent);
  add("verify", sent, end);
}

export const PHASES = {
  queue: "Queue: waits for a node",
  start: "Start: on its way to the node, and begun there",
  fetch: "Fetch: its inputs",
  pull: "Pull: its image",
  run: "Run: its task",
  archive: "Archive: packing the result",
  upload: "Upload: sending the result",
  verify: "Verify: looking at what S3 has",
};
