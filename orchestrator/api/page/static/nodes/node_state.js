// How a node is, in a word, with how many warnings there are about it.

import { html } from "../vendor/preact.js";
import { stateOf } from "./nodes.js";

/** The colours of a job's states, for what is as good or as bad. */
const LIKE = {
  Connected: "Completed",
  Disconnected: "Failed",
  Draining: "Queued",
  Drained: "Pending",
  "Awaits approval": "Queued",
  Rejected: "Stopped",
};

export function NodeState({ node }) {
  const state = stateOf(node);
  const warnings = node.Warnings.length;
  return html`<span class="state" data-state=${LIKE[state]}><span aria-hidden="true">${state[0]}</span>${state}</span>
    ${warnings > 0 && html` <span class="warned" title=${node.Warnings.map((each) => each.Message).join("\n")}>${warnings} ${warnings === 1 ? "warning" : "warnings"}</span>`}`;
}
