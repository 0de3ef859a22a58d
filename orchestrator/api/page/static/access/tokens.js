// Join tokens, with which nodes join: made, listed and revoked.

import { html, useState } from "../vendor/preact.js";
import { put, remove } from "../lib/api.js";
import { mayEverywhere } from "../lib/everywhere.js";
import { moment } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { assignmentLines, assignments, wholeNumber, wholeSeconds } from "../lib/job_text.js";
import { command, visible } from "../lib/text.js";
import { Asked } from "./asked.js";
import { Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";
import { Field } from "../parts/field.js";
import { Listed, NotAllowed } from "../parts/listed.js";
import { Secret } from "./secret.js";

const TOKENS = "/orchestrator/tokens";
const pairs = (of) => Object.entries(of).map(([name, value]) => `${name}=${value}`);
const lengthOf = (seconds) => (seconds === 0 ? "0" : seconds % 3600 ? `${seconds}s` : `${seconds / 3600}h`);

export function Tokens({ session }) {
  const isSeen = mayEverywhere(session, "read:node");
  const isAllowed = mayEverywhere(session, "write:node");
  const of = usePoll(isSeen ? TOKENS : null, {}, 10);
  if (!isSeen) return html`<${NotAllowed} what="To see join tokens" capability="read:node" everywhere />`;
  const columns = [
    { label: "Token", cell: (token) => html`${visible(token.ID)}${token.Rekeys && html`<br /><small>new key of ${visible(token.Rekeys)}</small>`}` },
    { label: "State", cell: (token) => token.State },
    { label: "Used", cell: (token) => `${token.Used} of ${token.Uses || "any number"}` },
    { label: "Ends", class: "whole", cell: (token) => (token.Revoked ? `revoked ${moment(token.Revoked)}` : token.Expires ? moment(token.Expires) : "never") },
    { label: "Labels", cell: (token) => pairs(token.Labels).map(visible).join(", ") },
    { label: "Namespaces", cell: (token) => (token.Namespaces.length ? token.Namespaces.map(visible).join(", ") : "all") },
    { label: "Nodes", cell: (token) => token.Nodes.slice(0, 20).map((node, at) => html`${at > 0 && ", "}<a href=${linkTo(["nodes", node])}>${visible(node)}</a>`) },
    { label: "", cell: (token) => isAllowed && token.State === "Usable" && html`<${Asked} label="Revoke …" title=${`Revoke the token ${visible(token.ID)}?`} action="Revoke" danger
      text=${command("tarpon", "node", "token", "revoke", token.ID)} act=${() => remove(`${TOKENS}/${encodeURIComponent(token.ID)}`)} onDone=${of.again}>
      <p>It lets no more nodes in. Those that have joined with it stay.</p>
    <//>` },
  ];
  return html`${isAllowed ? html`<${NewToken} onDone=${of.again} />` : html`<${NotAllowed} what="To make join tokens" capability="write:node" everywhere />`}
    <h2>Join tokens</h2>
    <${Listed} label="Join tokens" of=${of} items=${(data) => data.Tokens} columns=${columns} keyOf=${(token) => token.ID} empty="There is none. Of those that ended, the ones of the last week are shown." />`;
}

function NewToken({ onDone }) {
  const [wanted, setWanted] = useState({ Uses: 1, ExpiresSeconds: 86400, Labels: {}, Namespaces: "", Approval: false });
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const change = (more) => setWanted((last) => ({ ...last, ...more }));
  const namespaces = wanted.Namespaces.split(/[\s,]+/).filter(Boolean);
  const make = async (event) => {
    event.preventDefault();
    try {
      setMade(await put(TOKENS, { ...wanted, Uses: wanted.Uses || 0, Namespaces: namespaces }));
      setError(null);
      onDone();
    } catch (failure) {
      setError(failure);
    }
  };
  const text = command("tarpon", "node", "token", "create", "--uses", String(wanted.Uses || 0), "--expires", wanted.ExpiresSeconds ? lengthOf(wanted.ExpiresSeconds) : "never",
    ...pairs(wanted.Labels).flatMap((each) => ["-l", each]), ...namespaces.flatMap((each) => ["--namespace", each]), ...(wanted.Approval ? ["--approval"] : []));
  return html`<details class="card"><summary>Make a join token</summary><form onSubmit=${make}>
    <div class="fields">
      <${Field} label="Nodes" value=${wanted.Uses} read=${wholeNumber} format="a whole number" inputmode="numeric" hint="How many it lets in; 0 is any number" onChange=${(Uses) => change({ Uses })} />
      <${Field} label="Ends after" value=${wanted.ExpiresSeconds} show=${lengthOf} read=${wholeSeconds} format="a length of time, such as 24h" hint="Such as 24h; 0 is never" onChange=${(ExpiresSeconds) => change({ ExpiresSeconds })} />
      <${Field} label="Namespaces" value=${wanted.Namespaces} hint="Those its nodes serve alone; none is all" onChange=${(Namespaces) => change({ Namespaces })} />
      <${Field} label="Labels of its nodes" value=${wanted.Labels} lines=${2} show=${assignmentLines} read=${assignments} format="NAME=VALUE in each line" hint="NAME=VALUE, one a line" onChange=${(Labels) => change({ Labels })} />
    </div>
    <label><input type="checkbox" checked=${wanted.Approval} onChange=${(event) => change({ Approval: event.target.checked })} /> Its nodes get nothing until they are approved</label>
    <p><button class="primary">Make the token</button></p>
    <${Command} text=${text} />
    <${Problem} error=${error} />
  </form></details>
  ${made && html`<${Secret} title="The join token" text=${`TARPON_COMPUTE_AUTH_TOKEN=${made.Text} tarpon serve --compute`} onGone=${() => setMade(null)}>
    <p>Run the line on the machine that is to be the node. ${visible(made.Warning)}</p><//>`}`;
}
