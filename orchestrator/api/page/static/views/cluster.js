// The cluster: its orchestrators, NATS, the bucket, what waits to be tidied up, and the last hour.

import { html, useMemo } from "../vendor/preact.js";
import { mayEverywhere } from "../lib/everywhere.js";
import { ago, bytes, count, moment, seconds } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { may } from "../lib/may.js";
import { shortId, visible } from "../lib/text.js";
import { Facts, Loading, Problem } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { CorsRule } from "../parts/cors_rule.js";
import { Listed, NotAllowed } from "../parts/listed.js";

export function Cluster({ session }) {
  if (!may(session, "read:agent")) return html`<h1>Cluster</h1><${NotAllowed} what="To see the cluster" capability="read:agent" />`;
  const isEverywhere = mayEverywhere(session, "read:agent");
  return html`<h1>Cluster</h1>
    <${Concerns} />
    ${isEverywhere && html`<${LastHour} />`}
    <${Orchestrators} />
    <${Bucket} isEverywhere=${isEverywhere} />
    ${isEverywhere && html`<${Uploads} />`}`;
}

/** What somebody should see to, of what the orchestrator that answers knows. */
function Concerns() {
  const { data, error } = usePoll("/agent/node", {}, 5);
  const bucket = data?.Publishers?.S3Managed;
  const of = [bucket?.Problem, bucket?.DeletionProblem, data?.Audit?.Problem].filter(Boolean);
  if (bucket && !bucket.Ready && !bucket.Problem) of.push({ Code: "BucketNotReady", Message: "The bucket has not been looked at yet." });
  if (data && !data.Leader) of.push({ Code: "NoLeader", Message: "No orchestrator leads at present: nothing is placed." });
  if (data?.Audit?.Lost) of.push({ Code: "AuditLost", Message: `The audit log lacks ${count(data.Audit.Lost)} lines.` });
  return html`<${Problem} error=${error} />${of.map((each) => html`<div class="problem" role="alert" key=${each.Code + each.Message}>
    <strong>${visible(each.Message)}</strong>${each.Hint && html`<div>${visible(each.Hint)}</div>`}<small>${each.Code}</small></div>`)}
    ${data && html`<div class="card"><${Facts} of=${[
      ["Leader", data.Leader ? visible(data.Leader) : "none"],
      ["Answers", `${visible(data.NodeID)} on ${visible(data.Host)}`],
      ["Version", visible([data.BacalhauVersion.GitVersion, data.BacalhauVersion.GitCommit?.slice(0, 12)].filter(Boolean).join(" "))],
      ["Its time", moment(data.Time)],
      ["Bucket", bucket ? (bucket.Ready ? "takes results" : "takes no results at present") : "none: results are not published"],
      ["Unfinished uploads", bucket && count(bucket.UnfinishedUploads)],
      ["Audit log", data.Audit ? `${data.Audit.Writable ? "written" : "cannot be written"}, ${count(data.Audit.LastLine)} lines` : "off"],
    ]} /></div>`}`;
}

function LastHour() {
  const { data, error } = usePoll("/agent/history", {}, 10);
  const of = useMemo(() => data && {
    jobs: [
      { label: "Submitted", colour: "pending", values: data.JobsSubmitted },
      { label: "Completed", colour: "completed", values: data.JobsCompleted },
      { label: "Failed", colour: "failed", values: data.JobsFailed },
      { label: "Stopped", colour: "stopped", values: data.JobsStopped },
    ],
    queue: [{ label: "Oldest waits", colour: "queued", values: data.OldestQueuedSeconds }],
    work: [{ label: "Executions that run", colour: "running", values: data.RunningExecutions }, { label: "Jobs that wait", colour: "queued", values: data.QueuedJobs }],
    results: [{ label: "Results", colour: "completed", values: data.PublishedResults }],
    bytes: [{ label: "Published", colour: "running", values: data.PublishedBytes }],
  }, [data]);
  if (!data) return html`<${Problem} error=${error} />${!error && html`<${Loading} />`}`;
  const each = `each ${seconds(data.IntervalSeconds).replace(".0", "")}`;
  return html`<h2>The last hour</h2>
    <p class="soft">As ${Date.now() - Date.parse(data.Since) < 3600e3 ? `this orchestrator has measured it since its start ${ago(data.Since)}` : "this orchestrator has measured it"}.</p>
    <${Problem} error=${error} />
    <div class="charts">
      <${Chart} title=${`Jobs, ${each}`} times=${data.Times} series=${of.jobs} show=${count} sums />
      <${Chart} title="Queue: age of the oldest job" times=${data.Times} series=${of.queue} show=${seconds} />
      <${Chart} title="At work and waiting" times=${data.Times} series=${of.work} show=${count} />
      <${Chart} title=${`Results, ${each}`} times=${data.Times} series=${of.results} show=${count} sums />
      <${Chart} title=${`Bytes of results, ${each}`} times=${data.Times} series=${of.bytes} show=${bytes} sums />
    </div>`;
}

function Orchestrators() {
  const of = usePoll("/agent/cluster", {}, 5);
  const nats = of.data?.NATS;
  const one = [
    { label: "Orchestrator", cell: (each) => html`<a href=${linkTo(["nodes", each.ID])}>${visible(each.ID)}</a>` },
    { label: "Version", cell: (each) => visible(each.Version) },
    { label: "Is", cell: (each) => [each.Leads && "the leader", each.Answers && "the one that answers here"].filter(Boolean).join(", ") || "ready to lead" },
  ];
  const stream = [
    { label: "Stream", cell: (each) => visible(each.Name) },
    { label: "Size", class: "number", cell: (each) => (each.LimitBytes ? `${bytes(each.Bytes)} of ${bytes(each.LimitBytes)}` : bytes(each.Bytes)) },
    { label: "Messages", class: "number", cell: (each) => count(each.Messages) },
    { label: "Kept by", cell: (each) => Object.entries(each.Servers).map(([name, state]) => html`<span key=${name} class=${state === "Offline" || state === "Behind" ? "wrong" : ""}>${visible(name)}: ${state.toLowerCase()} </span>`) },
  ];
  return html`<h2>Orchestrators</h2>
    <${Listed} label="Orchestrators" of=${of} items=${(data) => data.Orchestrators} columns=${one} keyOf=${(each) => each.ID} empty="None has answered." />
    ${nats && html`<h2>NATS</h2>
      <p>${nats.Connected ? "Connected" : "Not connected"}${nats.Server && ` to ${visible(nats.Server)}, version ${visible(nats.Version)}`}${nats.Embedded ? ", which this orchestrator has started itself" : ""}.</p>
      <${Listed} label="Streams of NATS" of=${of} items=${() => nats.Streams} columns=${stream} keyOf=${(each) => each.Name} empty="NATS cannot be asked at present." />`}`;
}

function Bucket({ isEverywhere }) {
  const { data, error } = usePoll(isEverywhere ? "/agent/config" : null, {}, 0);
  const settings = data?.config?.Publishers?.Types?.S3Managed;
  if (!settings?.Bucket) return html`<${Problem} error=${error} />`;
  return html`<h2>Bucket</h2><div class="card"><${Facts} of=${[
    ["Bucket", visible(settings.Bucket)],
    ["Prefix", visible(settings.Key)],
    ["Region", visible(settings.Region)],
    ["Endpoint", visible(settings.Endpoint || "of AWS")],
    ["Readers use", visible(settings.PublicEndpoint)],
    ["URLs are good for", visible(settings.PreSignedURLExpiration)],
    ["Results are kept for", settings.Retention === "0s" ? "as long as their job" : visible(settings.Retention)],
  ]} />
    <details><summary>The rule by which this page reads results</summary>
      <${CorsRule} bucket=${settings.Bucket} endpoint=${settings.PublicEndpoint || settings.Endpoint} />
    </details></div>`;
}

function Uploads() {
  const of = usePoll("/agent/uploads", {}, 10);
  const columns = [
    { label: "Job", cell: (each) => html`<a href=${linkTo(["jobs", each.JobID])}>${shortId(each.JobID)}</a>` },
    { label: "Execution", cell: (each) => shortId(each.ExecutionID) },
    { label: "Key", cell: (each) => visible(each.Key) },
    { label: "Bucket", cell: (each) => visible(each.Bucket) },
  ];
  return html`<h2>Unfinished uploads</h2><${Listed} label="Unfinished uploads" of=${of} items=${(data) => data.Items} columns=${columns} keyOf=${(each) => each.UploadID} empty="None: no result left parts behind that could not be removed yet." />`;
}
