// Users, who each have a key: made, listed and revoked.

import { html, useState } from "../vendor/preact.js";
import { put, remove } from "../lib/api.js";
import { mayEverywhere } from "../lib/everywhere.js";
import { moment } from "../lib/format.js";
import { usePoll } from "../lib/hooks.js";
import { command, visible } from "../lib/text.js";
import { Asked } from "./asked.js";
import { Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";
import { Field } from "../parts/field.js";
import { Listed, NotAllowed } from "../parts/listed.js";
import { Secret } from "./secret.js";

const USERS = "/orchestrator/users";
const CAPABILITIES = ["read:job", "write:job", "read:node", "write:node", "read:agent", "write:agent", "read:data", "write:data", "read:*", "write:*", "*"];
const USUAL = ["read:job", "write:job", "read:node"];
const words = (text) => text.split(/[\s,]+/).filter(Boolean);

export function Users({ session }) {
  const isAllowed = mayEverywhere(session, "*");
  const of = usePoll(isAllowed ? USERS : null, {}, 10);
  if (!isAllowed) return html`<${NotAllowed} what="To see and make users" capability="*" everywhere />`;
  const columns = [
    { label: "User", cell: (user) => html`${visible(user.Name)}<br /><small>${visible(user.KeyID)}</small>` },
    { label: "May", cell: (user) => user.Capabilities.map(visible).join(", ") },
    { label: "Namespaces", cell: (user) => (user.Namespaces.includes("*") || !user.Namespaces.length ? "all" : user.Namespaces.map(visible).join(", ")) },
    { label: "Made", class: "whole", cell: (user) => html`${moment(user.CreateTime)}${user.MadeBy && html`<br /><small>by ${visible(user.MadeBy)}</small>`}` },
    { label: "Ends", class: "whole", cell: (user) => (user.Revoked ? `revoked ${moment(user.Revoked)}` : user.Expires ? moment(user.Expires) : "never") },
    { label: "", cell: (user) => !user.Revoked && html`<${Asked} label="Revoke …" title=${`Revoke the key of ${visible(user.Name)}?`} action="Revoke" danger
      text=${command("tarpon", "user", "revoke", user.Name)} act=${() => remove(`${USERS}/${encodeURIComponent(user.Name)}`)} onDone=${of.again}>
      <p>The key ends at once, on all orchestrators, and so does what is open by it. Jobs that were submitted by it go on.</p>
    <//>` },
  ];
  return html`<${NewUser} onDone=${of.again} />
    <h2>Users</h2>
    <${Listed} label="Users" of=${of} items=${(data) => data.Users} columns=${columns} keyOf=${(user) => user.KeyID} empty="There is no user yet." />`;
}

function NewUser({ onDone }) {
  const [wanted, setWanted] = useState({ Name: "", Capabilities: USUAL, Namespaces: "", ExpiresIn: "" });
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const change = (more) => setWanted((last) => ({ ...last, ...more }));
  const namespaces = words(wanted.Namespaces);
  const make = async (event) => {
    event.preventDefault();
    try {
      setMade(await put(USERS, { ...wanted, Namespaces: namespaces }));
      setError(null);
      change({ Name: "" });
      onDone();
    } catch (failure) {
      setError(failure);
    }
  };
  const toggle = (each) => change({ Capabilities: CAPABILITIES.filter((one) => (one === each) !== wanted.Capabilities.includes(one)) });
  const text = command("tarpon", "user", "create", ...wanted.Capabilities.flatMap((each) => ["--capability", each]),
    ...namespaces.flatMap((each) => ["--namespace", each]), ...(wanted.ExpiresIn ? ["--expires", wanted.ExpiresIn] : []), wanted.Name || "NAME");
  return html`<details class="card"><summary>Make a user</summary><form onSubmit=${make}>
    <div class="fields">
      <${Field} label="Name" value=${wanted.Name} required onChange=${(Name) => change({ Name })} />
      <${Field} label="Namespaces" value=${wanted.Namespaces} hint="Those it is limited to; none is all of them" onChange=${(Namespaces) => change({ Namespaces })} />
      <${Field} label="Ends after" value=${wanted.ExpiresIn} hint="Such as 720h; nothing is never" onChange=${(ExpiresIn) => change({ ExpiresIn })} />
    </div>
    <fieldset><legend>May</legend>${CAPABILITIES.map((each) => html`<label key=${each}><input type="checkbox" checked=${wanted.Capabilities.includes(each)} onChange=${() => toggle(each)} /> ${each}</label>`)}</fieldset>
    <button class="primary" disabled=${!wanted.Capabilities.length}>Make the user</button>
    <${Command} text=${text} />
    <${Problem} error=${error} />
  </form></details>
  ${made && html`<${Secret} title=${`The key of ${visible(made.User.Name)}`} text=${made.Key} onGone=${() => setMade(null)} />`}`;
}
