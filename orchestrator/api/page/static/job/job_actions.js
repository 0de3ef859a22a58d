// What can be done about a job: each action asks first, and tells the command that does the same.

import { html, useState } from "../vendor/preact.js";
import { put, remove } from "../lib/api.js";
import { isOver, pathOfJob } from "./jobs.js";
import { may } from "../lib/may.js";
import { command, visible } from "../lib/text.js";
import { Confirm, Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";

export function JobActions({ job, session, again }) {
  const [asked, setAsked] = useState(null);
  if (!may(session, "write:job")) return null;
  const over = isOver(job);
  const done = () => { setAsked(null); again(); };
  const Asked = { rerun: Rerun, stop: Stop, remove: Remove }[asked];
  return html`<span class="actions row">
    ${!job.Schedule && html`<button type="button" onClick=${() => setAsked("rerun")}>Run again …</button>`}
    ${over
      ? html`<button type="button" onClick=${() => setAsked("remove")}>Delete …</button>`
      : html`<button type="button" class="danger" onClick=${() => setAsked("stop")}>Stop …</button>`}
    ${Asked && html`<${Asked} job=${job} onDone=${done} onCancel=${() => setAsked(null)} />`}
  </span>`;
}

/** A confirmation that carries out `act` and stays where that fails. */
function Question({ title, action, danger, text, act, onDone, onCancel, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const yes = async () => {
    if (busy) return;
    setBusy(true);
    try {
      await act();
      onDone();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return html`<${Confirm} title=${title} action=${busy ? "…" : action} danger=${danger} onYes=${yes} onCancel=${onCancel}>
    ${children}<${Command} text=${text} /><${Problem} error=${error} />
  <//>`;
}

const Reason = ({ value, onInput }) =>
  html`<label>Why, for the job's history (may stay empty)
    <input type="text" maxlength="500" value=${value} onInput=${(event) => onInput(event.target.value)} /></label>`;

const reasonWords = (reason) => (reason ? ["--reason", reason] : []);
const named = (job) => visible(job.Name || job.ID);

function Stop({ job, onDone, onCancel }) {
  const [reason, setReason] = useState("");
  const what = job.Schedule ? "No further run begins; runs that have begun go on." : "Tasks that run are ended.";
  return html`<${Question} title=${`Stop ${named(job)}?`} action="Stop the job" danger text=${command("tarpon", "job", "stop", job.ID, ...reasonWords(reason))}
    act=${() => remove(pathOfJob(job.ID), { reason })} onDone=${onDone} onCancel=${onCancel}>
    <p>${what} It cannot be undone; the job can be run again.</p>
    <${Reason} value=${reason} onInput=${setReason} />
  <//>`;
}

function Rerun({ job, onDone, onCancel }) {
  const [failed, setFailed] = useState(false);
  const [reason, setReason] = useState("");
  const [token] = useState(() => Array.from(crypto.getRandomValues(new Uint32Array(4)), (each) => each.toString(36)).join(""));
  const some = isOver(job) && job.State.StateType !== "Completed";
  const text = command("tarpon", "job", "rerun", failed ? "--failed" : "", ...reasonWords(reason), job.ID);
  const act = () => put(pathOfJob(job.ID, "/rerun"), { Failed: failed, Reason: reason, IdempotencyToken: token });
  return html`<${Question} title=${`Run ${named(job)} again?`} action="Run again" text=${text} act=${act} onDone=${onDone} onCancel=${onCancel}>
    <p>It runs as version ${job.Version + 1} of the same job.${isOver(job) ? "" : " What runs of it now is stopped."}</p>
    ${some && html`<label class="check"><input type="checkbox" checked=${failed} onChange=${(event) => setFailed(event.target.checked)} />
      Only the parts that have not completed; the results of the others stay</label>`}
    <${Reason} value=${reason} onInput=${setReason} />
  <//>`;
}

function Remove({ job, onDone, onCancel }) {
  const [results, setResults] = useState(false);
  const act = async () => {
    await remove(pathOfJob(job.ID, "/record"), undefined, { results: results || undefined });
    location.hash = "#/jobs";
  };
  return html`<${Question} title=${`Delete ${named(job)}?`} action="Delete the job" danger
    text=${command("tarpon", "job", "delete", results ? "--results" : "", job.ID)} act=${act} onDone=${onDone} onCancel=${onCancel}>
    <p>Nothing is known of it any more. It cannot be undone.</p>
    <label class="check"><input type="checkbox" checked=${results} onChange=${(event) => setResults(event.target.checked)} />
      Delete its results from the bucket, too</label>
  <//>`;
}
