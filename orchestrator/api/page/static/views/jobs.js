// Jobs: those that the filters in the address let through, live.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { count, moment, seconds } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { endedParts, isOver, JOBS, lasted, reasonOf, STATES } from "../job/jobs.js";
import { useSteady } from "../lib/steady.js";
import { sentences, shortId, visible } from "../lib/text.js";
import { Empty, Loading, Problem, State } from "../parts/basics.js";
import { JobLink, Labels } from "../job/job_parts.js";

const A_PAGE = 50;
const ORDERS = [
  ["", "Newest first"],
  ["oldest", "Oldest first"],
  ["changed", "Changed last first"],
];
const ORDER_QUERIES = {
  oldest: { order_by: "created_at" },
  changed: { order_by: "modified_at", reverse: true },
};
const WRITING_MS = 300;

/** What is asked of the API for what the address says. */
function queryOf({ name, label, state, namespace, order, after }) {
  if (after) return { ...filtersOf({ name, label, state, namespace }), next_token: after };
  const ordered = ORDER_QUERIES[order] ?? { order_by: "created_at", reverse: true };
  return { ...filtersOf({ name, label, state, namespace }), ...ordered, limit: A_PAGE };
}

/** A name without wildcards is found anywhere in names. */
function filtersOf({ name, label, state, namespace }) {
  const pattern = name && !/[*?[]/.test(name) ? `*${name}*` : name;
  return { name: pattern, labels: label, state, namespace: namespace || "*" };
}

export function Jobs({ place }) {
  const wanted = place.query;
  const { data, error } = usePoll(JOBS, queryOf(wanted));
  const key = JSON.stringify(wanted);
  const { shown, fresh, show, holding } = useSteady(data?.Items, (job) => job.ID, key);
  useEffect(() => { document.title = "Jobs · Tarpon"; }, []);
  const go = (changes, replace = false) => {
    const address = linkTo(["jobs"], { ...wanted, after: "", page: "", ...changes });
    if (replace) location.replace(address);
    else location.hash = address;
  };
  const filtered = wanted.name || wanted.label || wanted.state || wanted.namespace;
  return html`
    <div class="row heading"><h1>Jobs</h1><a class="button" href="#/submit">Submit a job</a></div>
    <${Filters} wanted=${wanted} go=${go} />
    <${Problem} error=${error} />
    ${!data && !error && html`<${Loading} />`}
    ${data && (shown.length || fresh
      ? html`<${Pages} wanted=${wanted} number=${shown.length} token=${data.NextToken} fresh=${fresh} show=${show} />
          <${Table} jobs=${shown} holding=${holding} onLabel=${(name, value) => go({ label: `${name}=${value}` })} />`
      : html`<${Nothing} filtered=${filtered} later=${wanted.after} token=${data.NextToken} wanted=${wanted} />`)}
  `;
}

function Filters({ wanted, go }) {
  const states = (wanted.state ?? "").split(",").filter(Boolean);
  const toggle = (each) =>
    go({ state: (states.includes(each) ? states.filter((other) => other !== each) : [...states, each]).join(",") });
  const any = wanted.name || wanted.label || wanted.state || wanted.namespace || wanted.order;
  return html`<search><form class="row filters" onSubmit=${(event) => event.preventDefault()}>
    <${Written} id="name" label="Name" value=${wanted.name} hint="part of it, or a pattern: train-*" go=${go} />
    <${Written} id="label" label="Label" value=${wanted.label} hint="team=a,env in (x,y)" go=${go} />
    <${Written} id="namespace" label="Namespace" value=${wanted.namespace} hint="all" go=${go} />
    <div><label for="order">Order</label>
      <select id="order" value=${wanted.order ?? ""} onChange=${(event) => go({ order: event.target.value })}>
        ${ORDERS.map(([name, text]) => html`<option key=${name} value=${name}>${text}</option>`)}
      </select></div>
    <div role="group" aria-label="State" class="chips">
      ${STATES.map((each) => html`<button key=${each} type="button" class="chip" data-state=${each}
        aria-pressed=${states.includes(each) ? "true" : "false"} onClick=${() => toggle(each)}>${each}</button>`)}
      ${any && html`<a href="#/jobs">Clear</a>`}
    </div>
  </form></search>`;
}

/** A text of the address, which follows what is written after a moment. */
function Written({ id, label, value = "", hint, go }) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const write = (event) => {
    const written = event.target.value;
    setText(written);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => go({ [id]: written.trim() }, true), WRITING_MS);
  };
  return html`<div class="written"><label for=${`filter-${id}`}>${label}</label>
    <input id=${`filter-${id}`} type="search" value=${text} placeholder=${hint} onInput=${write} spellcheck=${false} /></div>`;
}

function Pages({ wanted, number, token, fresh, show }) {
  const page = Number(wanted.page || 1);
  const first = (page - 1) * A_PAGE;
  const more = Boolean(token);
  const told = page > 1 || more
    ? `Jobs ${count(first + 1)} to ${count(first + number)}${more ? " of more" : ""}`
    : `${count(number)} ${number === 1 ? "job" : "jobs"}`;
  return html`<div class="row pages">
    <span role="status">${told}</span>
    ${fresh > 0 && html`<button type="button" class="primary small" onClick=${show}>Show ${count(fresh)} new</button>`}
    <nav aria-label="Pages" class="row">
      ${page > 1 && html`<a href=${linkTo(["jobs"], { ...wanted, after: "", page: "" })}>First page</a>`}
      ${more && html`<a rel="next" href=${linkTo(["jobs"], { ...wanted, after: token, page: page + 1 })}>Next page</a>`}
    </nav>
  </div>`;
}

/** Columns in which there is nothing to tell apart are left out. */
function Table({ jobs, holding, onLabel }) {
  const labels = jobs.some((job) => Object.keys(job.Labels ?? {}).length);
  const namespaces = new Set(jobs.map((job) => job.Namespace)).size > 1;
  return html`<div class="scroll" ...${holding}><table class="jobs">
    <thead><tr>
      <th scope="col">Name</th><th scope="col">State</th><th scope="col" class="number wide">Tasks ended</th>
      <th scope="col">Why, or what it waits for</th>${labels && html`<th scope="col" class="wide">Labels</th>`}
      ${namespaces && html`<th scope="col">Namespace</th>`}<th scope="col">Created, ended</th>
    </tr></thead>
    <tbody>${jobs.map((job) => html`<${Row} key=${job.ID} job=${job} labels=${labels} namespaces=${namespaces} onLabel=${onLabel} />`)}</tbody>
  </table></div>`;
}

function Row({ job, labels, namespaces, onLabel }) {
  const [ended, of] = endedParts(job);
  const over = isOver(job);
  return html`<tr>
    <td class="who-is"><${JobLink} id=${job.ID} name=${job.Name} /><code>${shortId(job.ID)}</code></td>
    <td><${State} name=${job.State.StateType} /></td>
    <td class="number wide">${job.Schedule ? "" : html`<${Part} ended=${ended} of=${of} />`}</td>
    <td class="reason"><span>${sentences(reasonOf(job))}</span></td>
    ${labels && html`<td class="wide"><${Labels} of=${job.Labels} onPick=${onLabel} /></td>`}
    ${namespaces && html`<td>${visible(job.Namespace)}</td>`}
    <td class="time">${moment(job.CreateTime)}
      <small>${over ? `${endOf(job)}, after ${seconds(lasted(job))}` : job.Schedule ? "" : `for ${seconds(lasted(job))}`}</small></td>
  </tr>`;
}

/** Without the day, where that is the one on which it was created. */
function endOf(job) {
  const [begun, end] = [moment(job.CreateTime), moment(job.ModifyTime)];
  return begun.slice(0, 10) === end.slice(0, 10) ? end.slice(11) : end;
}

const Part = ({ ended, of }) =>
  html`${count(ended)} of ${count(of)}
    ${of > 1 && html`<progress max=${of} value=${ended} aria-label=${`${ended} of ${of} tasks have ended`} />`}`;

function Nothing({ filtered, later, token, wanted }) {
  if (token)
    return html`<${Empty}>None among those looked at so far.${" "}
      <a href=${linkTo(["jobs"], { ...wanted, after: token, page: Number(wanted.page || 1) + 1 })}>Look further</a><//>`;
  if (later) return html`<${Empty}>No more jobs. <a href="#/jobs">To the first page</a><//>`;
  if (filtered) return html`<${Empty}>No job is like this. <a href="#/jobs">Show all jobs</a><//>`;
  return html`<div class="card"><h2>No jobs yet</h2>
    <p><a href="#/submit">Submit one here</a>, or with the command line:</p>
    <pre>tarpon job run deploy/examples/hello-process.yaml</pre></div>`;
}
