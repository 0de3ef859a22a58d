// What can be done to a node, each with a confirmation and the command that does the same.

import { html, useState } from "../vendor/preact.js";
import { put } from "../lib/api.js";
import { mayEverywhere } from "../lib/everywhere.js";
import { command, visible } from "../lib/text.js";
import { Confirm, Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";

const ACTIONS = {
  drain: {
    label: "Drain", fits: (node) => !node.Draining && node.Membership === "APPROVED",
    tells: "Nothing new is placed on it, what it has not begun goes elsewhere, and what runs there ends and publishes its results. It stays drained until it is undrained.",
  },
  undrain: { label: "Undrain", fits: (node) => node.Draining, tells: "Work is placed on it again." },
  approve: { label: "Approve", fits: (node) => node.Membership !== "APPROVED", tells: "It is let in, and given work." },
  reject: {
    label: "Reject", danger: true, why: true, fits: (node) => node.Membership !== "REJECTED",
    tells: "It is cut off at once and let in no more until it is approved. What was placed on it goes to other nodes.",
  },
  delete: {
    label: "Delete", danger: true, why: true, fits: () => true,
    tells: "It is forgotten, and its name is free. One that is connected or holds executions has to be rejected first.",
  },
};

export function NodeActions({ node, session, onDone }) {
  const [asked, setAsked] = useState("");
  const id = node.Info.NodeID;
  if (!mayEverywhere(session, "write:node"))
    return html`<p class="soft">Who has the capability <code>write:node</code>, for all namespaces, can drain, reject and delete nodes.</p>`;
  return html`<div class="row" role="group" aria-label="Actions">
    ${Object.entries(ACTIONS).filter(([, action]) => action.fits(node)).map(([name, action]) => html`<button key=${name}
      onClick=${() => setAsked(name)}>${action.label} …</button>`)}
    ${asked && html`<${Ask} id=${id} name=${asked} isBusy=${node.Connection === "CONNECTED" || node.LiveExecutions > 0}
      onCancel=${() => setAsked("")} onDone=${(told) => { setAsked(""); onDone(asked, told); }} />`}
  </div>`;
}

function Ask({ id, name, isBusy, onCancel, onDone }) {
  const action = ACTIONS[name];
  const [message, setMessage] = useState("");
  const [force, setForce] = useState(false);
  const [revokes, setRevokes] = useState(false);
  const [error, setError] = useState(null);
  const words = ["tarpon", "node", name, ...(message ? ["-m", message] : []), ...(force ? ["--force"] : []), ...(revokes ? ["--revoke-token"] : []), id];
  const yes = async () => {
    try {
      onDone(await put(`/orchestrator/nodes/${encodeURIComponent(id)}`, { Action: name, Message: message, Force: force, RevokeToken: revokes }));
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Confirm} title=${`${action.label} ${visible(id)}?`} action=${action.label} danger=${action.danger} onYes=${yes} onCancel=${onCancel}>
    <p>${action.tells}</p>
    ${action.why && html`<label>Why <input value=${message} maxlength="500" onInput=${(event) => setMessage(event.target.value)} /></label>`}
    ${name === "reject" && html`<label><input type="checkbox" checked=${revokes} onChange=${(event) => setRevokes(event.target.checked)} /> Revoke the join token too with which it came</label>`}
    ${name === "delete" && isBusy && html`<label><input type="checkbox" checked=${force} onChange=${(event) => setForce(event.target.checked)} /> Reject it first</label>`}
    <${Command} text=${command(...words)} />
    <${Problem} error=${error} />
  <//>`;
}
