// What a node is like, out of what the API tells of it.

import { visible } from "../lib/text.js";

export const isOrchestrator = (node) => node.Info.NodeType === "Requester";

/** One word for how it is: what keeps it from work comes first. */
export function stateOf(node) {
  if (node.Membership !== "APPROVED") return node.Membership === "REJECTED" ? "Rejected" : "Awaits approval";
  if (node.Connection !== "CONNECTED") return "Disconnected";
  return node.Draining ? (node.LiveExecutions ? "Draining" : "Drained") : "Connected";
}

export const STATES = ["Connected", "Disconnected", "Draining", "Drained", "Awaits approval", "Rejected"];

/** `{has, used}` of one resource: cores, bytes or devices. */
export function useOf(node, resource) {
  const info = node.Info.ComputeNodeInfo ?? {};
  const has = info.MaxCapacity?.[resource] ?? 0;
  return { has, used: Math.max(0, has - (info.AvailableCapacity?.[resource] ?? 0)) };
}

/** The engines with what keeps their tasks in their place: `process (bubblewrap)`. */
export function enginesOf(node) {
  const info = node.Info.ComputeNodeInfo ?? {};
  return (info.ExecutionEngines ?? []).map((each) =>
    visible(info.Isolation?.[each] ? `${each} (${info.Isolation[each]})` : each),
  );
}

export const labelsOf = (node) => Object.entries(node.Info.Labels ?? {}).map(([name, value]) => visible(value === "" ? name : `${name}=${value}`));

/** What a search looks through. */
export function textOf(node) {
  const info = node.Info;
  return [info.NodeID, info.Host, info.BacalhauVersion?.GitVersion, ...enginesOf(node), ...labelsOf(node)].join(" ").toLowerCase();
}
