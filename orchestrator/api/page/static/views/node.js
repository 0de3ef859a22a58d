// One node: what it has, what of that is used, what there is to say about it, and what can be done to it.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { ago, bytes, count, moment } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { enginesOf, isOrchestrator, labelsOf, useOf } from "../nodes/nodes.js";
import { keepSample, samplesOf } from "../nodes/samples.js";
import { may } from "../lib/may.js";
import { shortId, visible } from "../lib/text.js";
import { Bar } from "../parts/bar.js";
import { Empty, Facts, Loading, Problem } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { NodeActions } from "../nodes/node_actions.js";
import { NodeState } from "../nodes/node_state.js";

const cores = (value) => `${Math.round(value * 100) / 100}`;
const DONE = { drain: "It is being drained.", undrain: "Work is placed on it again.", approve: "It is let in.", reject: "It is cut off." };

export function Node({ id, session }) {
  const path = `/orchestrator/nodes/${encodeURIComponent(id)}`;
  const { data, error, again } = usePoll(path);
  const [told, setTold] = useState("");
  const node = data?.Node;
  useEffect(() => { if (node) keepSample(node); }, [data]);
  const done = (action, answer) => {
    if (action === "delete") location.replace(linkTo(["nodes"]));
    setTold([DONE[action], answer.Warning, answer.TokenIsUsable && `The join token ${answer.JoinToken} with which it came can still let it in under another name.`].filter(Boolean).join(" "));
    again();
  };
  return html`
    <p><a href="#/nodes">Nodes</a></p>
    <h1>${visible(node?.Info.NodeID ?? id)}</h1>
    <${Problem} error=${error} />
    ${!data && !error && html`<${Loading} />`}
    ${node && html`
      <p><${NodeState} node=${node} /></p>
      ${!isOrchestrator(node) && html`<${NodeActions} node=${node} session=${session} onDone=${done} />`}
      <p role="status">${told}</p>
      <${Concerns} node=${node} />
      <${Use} node=${node} />
      <${Charts} id=${node.Info.NodeID} data=${data} />
      ${!isOrchestrator(node) && may(session, "read:job") && html`<${Held} path=${path} />`}
      <${About} node=${node} />
    `}
  `;
}

/** What its operator should see to. */
function Concerns({ node }) {
  const problems = node.Info.ComputeNodeInfo?.Problems ?? [];
  const of = [
    ...node.Warnings.map((each) => [each.Code, each.Message, each.Hint]),
    ...(node.Suspicion ? [["NodeSuspect", node.Suspicion, ""]] : []),
    ...(node.ConnectionState?.LastError ? [["Connection", node.ConnectionState.LastError, ""]] : []),
    ...problems.map((each) => ["", each, ""]),
    ...Object.entries(node.OverBudget ?? {}).map(([kind, times]) => ["", `It has sent more ${kind} than its budget, ${count(times)} times.`, ""]),
  ];
  const shown = of.filter(([, message], at) => of.findIndex(([, other]) => other.includes(message)) === at);
  return shown.map(([code, message, hint]) => html`<div class="problem warn" key=${code + message}>
    <strong>${visible(message)}</strong>${hint && html`<div>${visible(hint)}</div>`}<small>${code}</small></div>`);
}

function Use({ node }) {
  const info = node.Info.ComputeNodeInfo ?? {};
  const bar = (label, resource, show) => {
    const { has, used } = useOf(node, resource);
    return [label, has ? html`<${Bar} label=${`${label} in use`} used=${used} of=${has} show=${show} />` : null];
  };
  return html`<h2>Capacity and use</h2><div class="card tight"><${Facts} of=${[
    bar("Cores", "CPU", cores),
    bar("Memory", "Memory", bytes),
    bar("Disk", "Disk", bytes),
    bar("GPUs", "GPU", cores),
    ["Placed here", count(node.LiveExecutions)],
    ["Run", count(info.RunningExecutions ?? 0)],
    ["Queue", count(info.EnqueuedExecutions ?? 0)],
    ["Publish", count(info.PublishingExecutions ?? 0)],
    ["Wait for S3", count(info.WaitingExecutions ?? 0)],
  ]} /></div>`;
}

function Charts({ id, data }) {
  const of = useMemo(() => {
    const [times, cpu, memory, running, publishing] = samplesOf(id);
    return {
      times,
      cpu: [{ label: "Cores in use", colour: "running", values: cpu }],
      memory: [{ label: "Memory in use", colour: "stopped", values: memory }],
      executions: [{ label: "Run", colour: "running", values: running }, { label: "Publish", colour: "queued", values: publishing }],
    };
  }, [data]);
  if (of.times.length < 2) return null;
  return html`<h2>Since this page looks</h2><div class="charts">
    <${Chart} title="Cores" times=${of.times} series=${of.cpu} show=${cores} />
    <${Chart} title="Memory" times=${of.times} series=${of.memory} show=${bytes} />
    <${Chart} title="Executions" times=${of.times} series=${of.executions} show=${cores} />
  </div>`;
}

const STATES = { 1: "New", 3: "BidAccepted", 5: "BidAccepted", 6: "Running", 7: "Publishing" };
const LIKE = { Running: "Running", Publishing: "Completed" };

/** What it holds of jobs that one may see. */
function Held({ path }) {
  const { data, error } = usePoll(`${path}/executions`, { limit: 100 });
  if (!data) return html`<${Problem} error=${error} />`;
  return html`<h2>Executions</h2><${Problem} error=${error} />
    ${!data.Items.length && html`<${Empty}>It holds none.<//>`}
    ${data.Items.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Executions"><table>
      <thead><tr><th scope="col">Execution</th><th scope="col">Part</th><th scope="col">State</th><th scope="col" class="number">Cores</th><th scope="col" class="number">Memory</th><th scope="col">Since</th><th scope="col">What it does</th></tr></thead>
      <tbody>${data.Items.map((each) => html`<${Execution} key=${each.ID} of=${each} />`)}</tbody>
    </table></div>
    ${data.NextToken && html`<p class="soft">These are the oldest ${data.Items.length} of them.</p>`}`}`;
}

function Execution({ of }) {
  const state = STATES[of.ComputeState.StateType] ?? "New";
  const resources = Object.values(of.AllocatedResources?.Tasks ?? {})[0] ?? {};
  return html`<tr>
    <td class="whole"><a href=${linkTo(["jobs", of.JobID], { tab: "history", execution: of.ID })}>${shortId(of.ID)}</a></td>
    <td>${visible(of.Name)}</td>
    <td><span class="state" data-state=${LIKE[state] ?? "Queued"}><span aria-hidden="true">${state[0]}</span>${state}</span></td>
    <td class="number">${cores(resources.CPU ?? 0)}</td>
    <td class="number">${bytes(resources.Memory ?? 0)}</td>
    <td class="whole">${moment(of.CreateTime)}</td>
    <td>${visible(of.ComputeState.Message)}</td>
  </tr>`;
}

function About({ node }) {
  const info = node.Info;
  const compute = info.ComputeNodeInfo ?? {};
  const engine = compute.ContainerEngine;
  const connection = node.ConnectionState ?? {};
  const version = info.BacalhauVersion ?? {};
  return html`<h2>About</h2><div class="card"><${Facts} of=${[
    ["Kind", isOrchestrator(node) ? "Orchestrator" : "Compute node"],
    ["Host", visible(info.Host)],
    ["Version", visible([version.GitVersion, version.GitCommit?.slice(0, 12)].filter(Boolean).join(" "))],
    ["System", visible([version.GOOS, version.GOARCH].filter(Boolean).join(", "))],
    ["Engines", enginesOf(node).join(", ")],
    ["Containers run by", engine && visible([engine.Name, engine.Version, engine.Store, engine.Rootless ? "rootless" : "", ...(engine.Isolation ?? [])].filter(Boolean).join(", "))],
    ["GPUs", (compute.GPUs ?? []).map((each) => visible(`${each.Index}: ${each.Name || each.Vendor}${each.Memory ? ` (${count(each.Memory)} MiB)` : ""}`)).join(", ")],
    ["Inputs", (compute.StorageSources ?? []).map(visible).join(", ")],
    ["Publishers", (compute.Publishers ?? []).map(visible).join(", ")],
    ["Speaks", (info.SupportedProtocols ?? []).map(visible).join(", ")],
    ["Namespaces", node.Namespaces.length ? node.Namespaces.map(visible).join(", ") : "all"],
    ["Owner", visible(node.Owner)],
    ["Joined with token", visible(node.JoinToken)],
    ["Last heard of", connection.LastHeartbeat && html`<span title=${moment(connection.LastHeartbeat)}>${ago(connection.LastHeartbeat)}</span>`],
    ["Connected since", moment(connection.ConnectedSince)],
    ["Disconnected since", moment(connection.DisconnectedSince)],
  ]} /></div>
  <h2>Labels</h2>${labelsOf(node).length ? html`<ul class="chips">${labelsOf(node).map((each) => html`<li key=${each}><a href=${linkTo(["nodes"], { label: each })}>${each}</a></li>`)}</ul>` : html`<${Empty}>None.<//>`}`;
}
