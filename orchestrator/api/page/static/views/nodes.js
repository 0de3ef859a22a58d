// The nodes: how each is, what it has and what of that is used.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { linkTo } from "../lib/hooks.js";
import { enginesOf, isOrchestrator, labelsOf, stateOf, STATES, textOf, useOf } from "../nodes/nodes.js";
import { usePages } from "../nodes/pages.js";
import { keepSample } from "../nodes/samples.js";
import { visible } from "../lib/text.js";
import { Bar } from "../parts/bar.js";
import { Empty, Facts, Loading, Problem } from "../parts/basics.js";
import { NodeState } from "../nodes/node_state.js";
import { Rows } from "../parts/rows.js";
import { Node } from "./node.js";

const cores = (value) => `${Math.round(value * 100) / 100}`;
const share = (resource) => (node) => {
  const { has, used } = useOf(node, resource);
  return has ? used / has : -1;
};
const info = (node) => node.Info.ComputeNodeInfo ?? {};

const COLUMNS = [
  { name: "name", label: "Node", sort: "least", cell: (node) => html`<a href=${linkTo(["nodes", node.Info.NodeID])}>${visible(node.Info.NodeID)}</a><br /><small>${visible(node.Info.Host)}</small>` },
  { name: "state", label: "State", sort: "least", cell: (node) => html`<${NodeState} node=${node} />` },
  { name: "cpu", label: "Cores", sort: "most", cell: (node) => html`<${Bar} label="Cores in use" ...${barOf(node, "CPU")} show=${cores} />` },
  { name: "memory", label: "Memory", sort: "most", cell: (node) => html`<${Bar} label="Memory in use" ...${barOf(node, "Memory")} show=${bytes} />` },
  { name: "running", label: "Runs", sort: "most", class: "number", cell: (node) => count(info(node).RunningExecutions ?? 0) },
  { name: "s3", label: "Waits for S3", sort: "most", class: "number wide", cell: (node) => count(info(node).WaitingExecutions ?? 0) },
  { name: "engines", label: "Engines", class: "wide", cell: (node) => enginesOf(node).join(", ") },
  { name: "version", label: "Version", class: "wide", cell: (node) => visible(node.Info.BacalhauVersion?.GitVersion) },
  { name: "labels", label: "Labels", class: "wide", cell: (node) => html`<span class="labels" title=${labelsOf(node).join(", ")}>${labelsOf(node).join(", ")}</span>` },
];
const ORDERS = {
  state: (node) => STATES.length - STATES.indexOf(stateOf(node)),
  cpu: share("CPU"),
  memory: share("Memory"),
  running: (node) => info(node).RunningExecutions ?? 0,
  s3: (node) => info(node).WaitingExecutions ?? 0,
};

function barOf(node, resource) {
  const { has, used } = useOf(node, resource);
  return { used, of: has };
}

export const Nodes = ({ place, session }) =>
  place.parts.length > 1 ? html`<${Node} key=${place.parts[1]} id=${place.parts[1]} session=${session} />` : html`<${List} query=${place.query} />`;

function List({ query }) {
  const { data, error } = usePages("/orchestrator/nodes", { labels: query.label }, "Nodes");
  useEffect(() => { for (const node of data ?? []) keepSample(node); }, [data]);
  const nodes = useMemo(() => (data ?? []).filter((each) => !isOrchestrator(each)), [data]);
  const shown = useMemo(() => chosen(nodes, query), [nodes, query.text, query.state, query.sort]);
  const go = (changed) => location.replace(linkTo(["nodes"], { ...query, ...changed }));
  return html`
    <h1>Nodes</h1>
    <${Filters} query=${query} go=${go} />
    <${Problem} error=${error} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${Sums} nodes=${nodes} shown=${shown} />`}
    ${data && shown.length > 0 && html`<${Rows} label="Nodes" columns=${COLUMNS} items=${shown} keyOf=${(node) => node.Info.NodeID}
      sorted=${query.sort ?? "name"} onSort=${(sort) => go({ sort: sort === "name" ? "" : sort })} />`}
    ${data && !shown.length && html`<${Empty}>${nodes.length ? "No node is like that." : html`No node has joined yet.
      <a href="#/access">A join token</a> lets one in.`}<//>`}
  `;
}

function chosen(nodes, { text = "", state, sort }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = nodes.filter((node) => {
    if (state === "Warnings" ? !node.Warnings.length : state && stateOf(node) !== state) return false;
    return !words.length || words.every((each) => textOf(node).includes(each));
  });
  const order = ORDERS[sort];
  return order ? found.map((node) => [order(node), node]).sort(([one], [other]) => other - one).map(([, node]) => node) : found;
}

/** What is typed becomes part of the address when it rests. */
function Filters({ query, go }) {
  return html`<form class="row filters" role="search" aria-label="Nodes" onSubmit=${(event) => event.preventDefault()}>
    <${Typed} name="text" label="Search" value=${query.text} onRest=${(text) => go({ text })} hint="name, host, engine …" />
    <${Typed} name="label" label="Labels" value=${query.label} onRest=${(label) => go({ label })} hint="zone=eu,disk" />
    <label>State<br /><select value=${query.state ?? ""} onChange=${(event) => go({ state: event.target.value })}>
      <option value="">All</option>
      ${[...STATES, "Warnings"].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select></label>
  </form>`;
}

function Typed({ name, label, value = "", onRest, hint }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => onRest(text.trim()), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<label>${label}<br /><input type="search" name=${name} value=${text} placeholder=${hint} autocomplete="off"
    spellcheck=${false} onInput=${(event) => setText(event.target.value)} /></label>`;
}

function Sums({ nodes, shown }) {
  const sum = (each) => shown.reduce((all, node) => all + each(node), 0);
  const used = (resource) => ({ used: sum((node) => useOf(node, resource).used), of: sum((node) => useOf(node, resource).has) });
  const states = Object.entries(Object.groupBy(nodes, stateOf)).map(([name, of]) => `${count(of.length)} ${name.toLowerCase()}`);
  const warned = nodes.filter((node) => node.Warnings.length).length;
  return html`<div class="card sums tight">
    <p role="status">${shown.length === nodes.length ? "" : `${count(shown.length)} of `}${count(nodes.length)} ${nodes.length === 1 ? "node" : "nodes"}${states.length ? `: ${states.join(", ")}` : ""}${warned ? `; ${count(warned)} with warnings` : ""}</p>
    <${Facts} of=${[
      ["Cores", html`<${Bar} label="Cores in use" ...${used("CPU")} show=${cores} />`],
      ["Memory", html`<${Bar} label="Memory in use" ...${used("Memory")} show=${bytes} />`],
      ["Disk", html`<${Bar} label="Disk in use" ...${used("Disk")} show=${bytes} />`],
      ["Executions", `${count(sum((node) => info(node).RunningExecutions ?? 0))} run, ${count(sum((node) => info(node).PublishingExecutions ?? 0))} publish, ${count(sum((node) => info(node).WaitingExecutions ?? 0))} of these wait for S3`],
    ]} />
  </div>`;
}
