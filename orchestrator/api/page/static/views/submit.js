// Submitting a job: a form beside the whole job as a file, looked at by the API while one writes.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { put } from "../lib/api.js";
import { forgetDraft, keepDraft, keptDraft, newDraft, newToken, read, textOf } from "../lib/draft.js";
import { linkTo } from "../lib/hooks.js";
import { useOfferedEngines } from "../submit/engines.js";
import { directCommand } from "../submit/job_command.js";
import { lineOf } from "../submit/job_paths.js";
import { may } from "../lib/may.js";
import { withDocument } from "../submit/shell.js";
import { visible } from "../lib/text.js";
import { useValidation } from "../submit/validation.js";
import { Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";
import { JobEditor } from "../submit/job_editor.js";
import { JobForm } from "../submit/job_form.js";

export function Submit({ session }) {
  const user = session.Name ?? "";
  const [draft, setDraft] = useState(() => keptDraft(user));
  const { job = null, problem: unread = null } = useMemo(() => read(draft.text), [draft.text]);
  const key = job && JSON.stringify(job);
  const isAllowed = may(session, "write:job");
  const checked = useValidation(key, isAllowed);
  const offered = useOfferedEngines(may(session, "read:node"));
  useEffect(() => keepDraft(draft), [draft]);
  // Another job is another submit; the same one again, by a double click or after an error, is the same.
  const write = (more) => setDraft((last) => ({ ...last, token: newToken(), ...more }));
  const isChecked = checked.key === key && !checked.error;
  const problems = job ? checked.problems : [];
  const told = unread ? [unread] : problems.map((each) => ({ message: each.Message, hint: each.Hint, line: each.Path ? lineOf(draft.text, each.Path) : undefined }));
  const problemAt = (path) => {
    const found = problems.find((each) => each.Path === path || each.Path?.startsWith(`${path}.`) || each.Path?.startsWith(`${path}[`));
    return found ? withoutPath(found.Message, path) : "";
  };
  return html`
    <h1>Submit a job</h1>
    ${!isAllowed && html`<p class="problem warn">Who has the capability <code>write:job</code> can submit jobs. What you write here can be copied.</p>`}
    <div class="submit">
      <div>
        ${unread ? html`<p class="soft">The form follows once the file can be read.</p>`
          : html`<${JobForm} job=${job} offered=${offered} problemAt=${problemAt} onChange=${(changed) => write({ text: textOf(changed, draft.format) })} />`}
      </div>
      <div class="beside">
        <${JobEditor} text=${draft.text} format=${draft.format} problems=${told} onText=${(text) => write({ text, format: formatOf(text) })}
          onFormat=${(format) => write({ format, ...(job && { text: textOf(job, format) }) })}
          onNew=${() => setDraft(newDraft(user, draft.format))} />
        <${Problem} error=${checked.error} />
        ${checked.warnings.length > 0 && html`<ul class="soft">${checked.warnings.map((each) => html`<li key=${each}>${visible(each)}</li>`)}</ul>`}
        <${Send} job=${job} token=${draft.token} isReady=${isAllowed && isChecked && !unread && !problems.length} isWrong=${told.length > 0} />
        ${job && html`<${Commands} job=${job} draft=${draft} />`}
      </div>
    </div>
  `;
}

/** What is said of a place, at that place. */
function withoutPath(message, path) {
  const rest = message.startsWith(path) ? message.slice(path.length).replace(/^:?\s*/, "") : message;
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

const formatOf = (text) => (text.trimStart().startsWith("{") ? "json" : "yaml");

function Send({ job, token, isReady, isWrong }) {
  const [isSending, setSending] = useState(false);
  const [force, setForce] = useState(false);
  const [error, setError] = useState(null);
  const send = async () => {
    if (isSending) return;
    setSending(true);
    setError(null);
    try {
      const answer = await put("/orchestrator/jobs", { Job: job, Force: force, IdempotencyToken: token });
      forgetDraft();
      location.hash = linkTo(["jobs", answer.JobID]);
    } catch (failure) {
      setError(failure);
      setSending(false);
    }
  };
  return html`<div class="row send">
    <button class="primary" disabled=${!isReady || isSending} onClick=${send}>${isSending ? "Submitting …" : "Submit"}</button>
    <label><input type="checkbox" checked=${force} onChange=${(event) => setForce(event.target.checked)} /> Also if nothing has changed since the last version</label>
    <span role="status">${isReady ? "It can be submitted." : isWrong ? "Something is wrong with it." : "It is being looked at."}</span>
  </div><${Problem} error=${error} />`;
}

function Commands({ job, draft }) {
  const direct = directCommand(job);
  return html`<h2>The same on a command line</h2>
    ${direct.text ? html`<${Command} text=${direct.text} />` : html`<p class="soft">No flags say all of it: ${direct.lacks.join(", ")}.</p>`}
    <${Command} text=${withDocument(["tarpon", "job", "run", "-"], draft.text)} />`;
}
