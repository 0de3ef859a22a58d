// Engines that a job can be for: Tarpon's own, and those that nodes have from outside.

import { useEffect, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";
import { visible } from "../lib/text.js";

const OWN = ["docker", "process", "wasm", "noop"];
const HINTS = {
  docker: "In a container",
  process: "On the node itself, without a container",
  wasm: "A WebAssembly module, which is one of the inputs",
  noop: "Nothing is run",
};
const MOST_NODES = 1000;

/** The names of the engines that nodes offer; none where who looks may not see nodes, or nobody answers. */
export function useOfferedEngines(isAllowed) {
  const [names, setNames] = useState([]);
  useEffect(() => {
    if (!isAllowed) return undefined;
    const asking = new AbortController();
    get("/orchestrator/nodes", { limit: MOST_NODES }, asking.signal)
      .then((page) => setNames([...new Set(page.Nodes.flatMap((each) => each.Info.ComputeNodeInfo?.ExecutionEngines ?? []))].sort()))
      .catch(() => {}); // the form has Tarpon's own all the same
    return () => asking.abort();
  }, [isAllowed]);
  return names;
}

/** What a `Choice` is made of: also the engine that the job has now, whoever offers it. */
export const choicesOf = (offered, chosen) => [...new Set([...OWN, ...offered, ...(chosen ? [chosen] : [])])].map((each) => [each, visible(each)]);

export const hintOf = (engine) => HINTS[engine] ?? (engine ? "From outside: its parameters are written in the whole job" : "");
