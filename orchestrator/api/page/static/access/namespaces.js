// Namespaces: how they share the nodes, and what there is in one: secrets by their names, and data that was sent.

import { html, useState } from "../vendor/preact.js";
import { put, remove } from "../lib/api.js";
import { mayEverywhere } from "../lib/everywhere.js";
import { bytes, count, moment } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { wholeNumber } from "../lib/job_text.js";
import { may } from "../lib/may.js";
import { command, visible } from "../lib/text.js";
import { Asked } from "./asked.js";
import { Bar } from "../parts/bar.js";
import { Field } from "../parts/field.js";
import { Listed, NotAllowed } from "../parts/listed.js";

const NAMESPACES = "/orchestrator/namespaces";
const SECRETS = "/orchestrator/secrets";
const DATA = "/orchestrator/data";

export function Namespaces({ session }) {
  const isSeen = may(session, "read:job");
  const of = usePoll(isSeen ? NAMESPACES : null, {}, 10);
  if (!isSeen) return html`<${NotAllowed} what="To see namespaces" capability="read:job" />`;
  const columns = [
    { label: "Namespace", cell: (each) => html`<a href=${linkTo(["jobs"], { namespace: each.Name })}>${visible(each.Name)}</a>` },
    { label: "Weight", class: "number", cell: (each) => count(each.Weight) },
    { label: "Jobs", class: "number", cell: (each) => count(each.Jobs) },
    { label: "Executions that wait", class: "number", cell: (each) => count(each.Waiting) },
    { label: "run", class: "number", cell: (each) => count(each.Running) },
    { label: "Cores held", class: "number", cell: (each) => `${Math.round((each.Held?.CPU ?? 0) * 100) / 100}` },
    { label: "Memory held", class: "number", cell: (each) => bytes(each.Held?.Memory ?? 0) },
    { label: "", cell: (each) => mayEverywhere(session, "write:node") && html`<${Weight} of=${each} onDone=${of.again} />` },
  ];
  return html`<p class="soft">Where several namespaces wait, each gets its part of the nodes by its weight. Where nobody else waits, one may have everything.</p>
    <${Listed} label="Namespaces" of=${of} items=${(data) => data.Namespaces} columns=${columns} keyOf=${(each) => each.Name} empty="No namespace has jobs or a weight." />`;
}

function Weight({ of, onDone }) {
  const [weight, setWeight] = useState(of.Weight);
  return html`<${Asked} label="Weight …" title=${`The weight of ${visible(of.Name)}`} action="Set" onDone=${onDone}
    text=${command("tarpon", "namespace", "set", of.Name, "--weight", String(weight))}
    act=${() => put(`${NAMESPACES}/${encodeURIComponent(of.Name)}`, { Weight: weight })}>
    <${Field} label="Weight" value=${weight} read=${wholeNumber} format="a whole number" inputmode="numeric" onChange=${setWeight} />
  <//>`;
}

/** Of one namespace, which is asked for. */
function InNamespace({ children }) {
  const [namespace, setNamespace] = useState("");
  return html`<div class="fields"><${Field} label="Namespace" value=${namespace} hint="Nothing is the usual one" onChange=${(text) => setNamespace(text.trim())} /></div>${children(namespace)}`;
}

export function Secrets({ session }) {
  if (!may(session, "read:job")) return html`<${NotAllowed} what="To see secrets" capability="read:job" />`;
  return html`<p class="soft">Values are shown nowhere. <code>tarpon secret put NAME</code> stores one.</p>
    <${InNamespace}>${(namespace) => html`<${SecretList} key=${namespace} namespace=${namespace} isAllowed=${may(session, "write:job")} />`}<//>`;
}

function SecretList({ namespace, isAllowed }) {
  const of = usePoll(SECRETS, { namespace }, 10);
  const named = namespace ? ["--namespace", namespace] : [];
  const columns = [
    { label: "Secret", cell: (each) => visible(each.Name) },
    { label: "Size", class: "number", cell: (each) => bytes(each.SizeBytes) },
    { label: "Fit for", cell: (each) => (!each.Usable ? "nothing: it cannot be decrypted" : each.IsText ? "variables and files" : "files") },
    { label: "Stored", cell: (each) => moment(each.ModifyTime) },
    { label: "", cell: (each) => isAllowed && html`<${Asked} label="Delete …" title=${`Delete the secret ${visible(each.Name)}?`} action="Delete" danger onDone=${of.again}
      text=${command("tarpon", "secret", "delete", ...named, each.Name)} act=${() => remove(`${SECRETS}/${encodeURIComponent(each.Name)}`, undefined, { namespace })}>
      <p>Tasks that have it keep it. Those that are yet to be given it fail.</p><//>` },
  ];
  return html`<${Listed} label="Secrets" of=${of} items=${(data) => data.Secrets} columns=${columns} keyOf=${(each) => each.Name} empty="There is no secret in it." />`;
}

export function Data({ session }) {
  if (!may(session, "read:data")) return html`<${NotAllowed} what="To see data that was sent" capability="read:data" />`;
  return html`<p class="soft"><code>tarpon data put PATH</code> sends files for the inputs of jobs.</p>
    <${InNamespace}>${(namespace) => html`<${DataList} key=${namespace} namespace=${namespace} isAllowed=${may(session, "write:data")} />`}<//>`;
}

function DataList({ namespace, isAllowed }) {
  const of = usePoll(DATA, { namespace }, 10);
  const named = namespace ? ["--namespace", namespace] : [];
  const columns = [
    { label: "Data", cell: (each) => html`${each.Names.map(visible).join(", ")}<br /><small>${visible(each.Digest).slice(0, 16)}</small>` },
    { label: "Files", class: "number", cell: (each) => count(each.Files) },
    { label: "Size", class: "number", cell: (each) => bytes(each.SizeBytes) },
    { label: "Sent", cell: (each) => (each.Ready ? moment(each.CreateTime) : "not whole yet") },
    { label: "Last used", cell: (each) => moment(each.LastUse) },
    { label: "Goes", cell: (each) => (each.ExpireTime ? moment(each.ExpireTime) : "") },
    { label: "", cell: (each) => isAllowed && html`<${Asked} label="Delete …" title=${`Delete ${visible(each.Names[0] ?? each.Digest.slice(0, 16))}?`} action="Delete" danger onDone=${of.again}
      text=${command("tarpon", "data", "delete", ...named, each.Names[0] ?? each.Digest)} act=${() => remove(`${DATA}/${encodeURIComponent(each.Names[0] ?? each.Digest)}`, undefined, { namespace })}>
      <p>Of data with several names only this one goes.</p><//>` },
  ];
  return html`${of.data && html`<p><${Bar} label="Room in use" used=${of.data.SizeBytes} of=${of.data.QuotaBytes} show=${bytes} /></p>`}
    <${Listed} label="Data" of=${of} items=${(data) => data.Data} columns=${columns} keyOf=${(each) => each.Digest} empty="No data was sent to it." />`;
}
