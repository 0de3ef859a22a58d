// How a node was while this page looked: what it polled, kept until the page is left.

import { useOf } from "./nodes.js";

const MOST_SAMPLES = 240;
const MOST_NODES = 300;

/** By node: lists of `[seconds, cores, memory, executions that run, executions that publish]`. */
const samples = new Map();

/** Remember how a node is now. When there is no room for more, every second sample goes. */
export function keepSample(node, now = Date.now() / 1000) {
  const id = node.Info.NodeID;
  let kept = samples.get(id);
  if (!kept) {
    if (samples.size >= MOST_NODES) return;
    samples.set(id, (kept = []));
  }
  const info = node.Info.ComputeNodeInfo ?? {};
  kept.push([now, useOf(node, "CPU").used, useOf(node, "Memory").used, info.RunningExecutions ?? 0, info.PublishingExecutions ?? 0]);
  if (kept.length > MOST_SAMPLES) samples.set(id, kept.filter((_, at) => at % 2 === 1));
}

/** As columns, which is how a chart wants them. */
export function samplesOf(id) {
  const kept = samples.get(id) ?? [];
  return [0, 1, 2, 3, 4].map((column) => kept.map((each) => each[column]));
}
