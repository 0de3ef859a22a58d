// The specification of a job in each of its versions, as YAML and JSON, and what the newest one has changed.

import { dump } from "../vendor/js-yaml.js";
import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { put } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { usePoll } from "../lib/hooks.js";
import { pathOfJob, specOf } from "./jobs.js";
import { may } from "../lib/may.js";
import { visible, visibleLines } from "../lib/text.js";
import { Loading, Problem } from "../parts/basics.js";
import { Copy } from "../parts/command.js";

const FORMS = {
  yaml: { name: "YAML", write: (spec) => dump(spec, { lineWidth: 120 }), type: "application/yaml" },
  json: { name: "JSON", write: (spec) => `${JSON.stringify(spec, null, 2)}\n`, type: "application/json" },
};

export function Specification({ job, place, session, to }) {
  const form = FORMS[place.query.form] ? place.query.form : "yaml";
  const { data, error } = usePoll(job.Version > 1 ? pathOfJob(job.ID, "/versions") : null, {}, 0);
  const versions = data?.Items ?? [];
  const wanted = Number(place.query.version) || job.Version;
  const one = wanted === job.Version ? job : versions.find((each) => each.Version === wanted);
  const text = useMemo(() => one && FORMS[form].write(specOf(one)), [form, one?.ID, one?.Version, one?.Revision]);
  if (!one) return error ? html`<${Problem} error=${error} />` : html`<${Loading} />`;
  return html`
    <div class="row">
      ${job.Version > 1 && html`<div><label for="version">Version</label><select id="version" value=${wanted}
        onChange=${(event) => { location.hash = to("spec", { form, version: event.target.value }); }}>
        ${versions.map((each) => html`<option key=${each.Version} value=${each.Version}>${each.Version}: ${moment(each.SubmitTime)}, ${each.State.StateType}</option>`)}
      </select></div>`}
      <span role="group" aria-label="Form">${Object.entries(FORMS).map(([name, each]) => html`<a key=${name} class="button"
        aria-current=${name === form ? "true" : undefined} href=${to("spec", { form: name, version: place.query.version })}>${each.name}</a> `)}</span>
      <${Copy} text=${text} label="Copy" />
      <${Download} text=${text} name=${`${one.Name || one.ID}.${form}`} type=${FORMS[form].type} />
    </div>
    <pre class="spec" tabindex="0" aria-label="Specification">${visibleLines(text)}</pre>
    ${job.Version > 1 && may(session, "write:job") && html`<${Changes} key=${`${wanted}-${job.Version}`} job=${job} of=${wanted === job.Version
      ? versions.find((each) => each.Version === job.Version - 1) : one} />`}
  `;
}

/** A file of what is shown; it is made when it is asked for. */
function Download({ text, name, type }) {
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name.replace(/[^\w.-]+/g, "_").slice(-120);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return html`<button type="button" class="small" onClick=${save}>Download</button>`;
}

/** What would change if an earlier version were submitted again, as the orchestrator tells it. */
function Changes({ job, of }) {
  const [found, setFound] = useState({});
  useEffect(() => {
    if (of) put("/orchestrator/jobs/diff", { Job: { ...specOf(of), Name: job.Name } }).then((data) => setFound({ data }), (error) => setFound({ error }));
  }, [of?.Version]);
  if (!of) return null;
  return html`<h2>From version ${job.Version} to version ${of.Version}</h2>
    <${Problem} error=${found.error} />
    ${found.data && html`<pre class="spec" tabindex="0" aria-label="Differences">${visibleLines(found.data.Diff) || "Nothing would change."}</pre>`}
    ${(found.data?.Warnings ?? []).map((text) => html`<p key=${text}>${visible(text)}</p>`)}`;
}
