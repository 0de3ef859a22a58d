// The results of a job: their files, read straight from the bucket.

import { html, useEffect, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";
import { bytes, count, moment } from "../lib/format.js";
import { linkTo, usePoll } from "../lib/hooks.js";
import { partCount } from "../job/jobs.js";
import { command, shortened, visible } from "../lib/text.js";
import { Empty, Facts, Loading, Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";
import { CorsRule } from "../parts/cors_rule.js";
import { ResultTree } from "../parts/result_tree.js";
import { useLoaded } from "../previews/loaded.js";
import { Preview } from "../previews/preview.js";
import { openResult } from "../results/contents.js";
import { Offer } from "../results/offer.js";
import { CORS_RULE_MISSING } from "../results/problems.js";
import { nodeAt, treeOf } from "../results/tree.js";

const LOOK_SECONDS = 5;
const MOST_ATTEMPTS = 50;
const MOST_WARNINGS = 10;
/** The number that the API has for this state of an execution. */
const COMPLETED = 9;

/** `place.query` has `execution` and `path`, and `part` where no execution is chosen yet. */
export function Results({ job, place }) {
  const { execution: chosen, part: wanted = "0", path = "" } = place.query;
  const [found, setFound] = useState(null);
  const execution = chosen ?? found;
  const offered = useLoaded((signal) => (execution ? offer(job.ID, execution, signal) : new Promise(() => {})), [job.ID, execution]);
  const part = chosen ? offered.value?.params.PartitionIndex : wanted;
  const { data, error } = usePoll(
    part === undefined ? null : `/orchestrator/jobs/${encodeURIComponent(job.ID)}/executions`,
    { partitions: part, all_job_versions: true, reverse: true, limit: MOST_ATTEMPTS },
    LOOK_SECONDS,
  );
  const published = (data?.Items ?? []).filter((each) => each.PublishedResult?.Params?.Key);
  const last = newest(published)?.ID ?? null;
  useEffect(() => setFound(last), [last]);
  const to = (query) => linkTo(["jobs", job.ID], { tab: "results", ...query });
  return html`<div class="results">
    <${Choice} job=${job} part=${part} published=${published} execution=${execution} to=${to} />
    <${Problem} error=${error} />
    ${!execution && data && html`<${Empty}>${reason(job)}<//>`}
    ${execution ? html`<${Result} key=${execution} job=${job} offered=${offered} path=${path} to=${(each) => to({ execution, path: each })}
      published=${published.find((each) => each.ID === execution)?.PublishedResult.Params} />` : !data && !error && html`<${Loading} />`}
  </div>`;
}

const newest = (published) => published.find((each) => each.ComputeState.StateType === COMPLETED) ?? published[0];

function reason(job) {
  const type = job.Tasks?.[0]?.Publisher?.Type ?? "";
  if (!type || type === "noop") return "This job has no publisher, and so no results. What it wrote is in its log.";
  return "There is no result (yet).";
}

function Choice({ job, part, published, execution, to }) {
  const go = (query) => { location.hash = to(query); };
  return html`<div class="row">
    ${partCount(job) > 1 && html`<div><label for="part">Part, of ${count(partCount(job))}</label>
      <input id="part" type="number" min="0" max=${partCount(job) - 1} value=${part}
        onChange=${(event) => go({ part: event.target.value })} /></div>`}
    ${published.length > 1 && html`<div><label for="attempt">Result of</label>
      <select id="attempt" value=${execution} onChange=${(event) => go({ execution: event.target.value })}>
        ${published.map((each) => html`<option key=${each.ID} value=${each.ID}>${title(each)}</option>`)}
      </select></div>`}
  </div>`;
}

const title = (each) => `${moment(each.CreateTime)}, version ${each.JobVersion}, node ${shortened(each.NodeID, 20)}, exit code ${each.RunOutput?.ExitCode ?? "?"}`;

function Result({ job, offered, path, to, published }) {
  if (offered.error) return html`<${Problem} error=${offered.error} />`;
  if (!offered.value) return html`<${Loading} />`;
  return html`<${Warnings} published=${published} params=${offered.value.params} />
    <${Opened} job=${job} offer=${offered.value} path=${path} to=${to} />`;
}

/** The same result, with URLs that are signed anew whenever they are asked for. */
async function offer(job, execution, signal) {
  const ask = async (refused, asking) => {
    const found = await get(`/orchestrator/jobs/${encodeURIComponent(job)}/results`, { execution_id: execution, refused: refused || "" }, asking);
    return found.Items[0].Params;
  };
  return new Offer(await ask(false, signal), (refused) => ask(refused));
}

function Warnings({ published, params }) {
  const warnings = published?.Warnings ?? [];
  const more = (published?.WarningsCount ?? 0) - Math.min(warnings.length, MOST_WARNINGS);
  if (!params.LeftOutCount && !warnings.length) return null;
  return html`<div class="problem warn" role="note">
    <strong>${params.LeftOutCount ? `This result is not whole: ${count(params.LeftOutCount)} entries are not in it as the task wrote them.` : "Something is not as the task wrote it."}</strong>
    <ul>${warnings.slice(0, MOST_WARNINGS).map((each, at) => html`<li key=${at}>${visible(each)}</li>`)}</ul>
    ${more > 0 && html`<small>and ${count(more)} more</small>`}
  </div>`;
}

function Opened({ job, offer, path, to }) {
  const opened = useLoaded(async (signal) => {
    const contents = await openResult(offer, signal);
    return { contents, root: treeOf(contents.entries) };
  }, [offer]);
  const root = opened.value?.root;
  const { ExecutionID: execution, SourceSpec: source } = offer.params;
  const getting = (...paths) => command("tarpon", "job", "get", job.ID, "--execution", execution, ...paths);
  const node = root && path ? nodeAt(root, path) : null;
  return html`<${Facts} of=${[[offer.isPlain ? "Manifest" : "Archive", bytes(offer.params.Size)], [offer.isPlain ? "Files" : "Unpacked", bytes(offer.params.RawSize)], ["Entries", count(offer.params.Entries)]]} />
    ${!offer.isPlain && html`<div class="row"><${Archive} offer=${offer} /></div>`}
    ${opened.error && html`<${Problem} error=${opened.error} />
      ${opened.error.code === CORS_RULE_MISSING && html`<${CorsRule} bucket=${source.Bucket} endpoint=${source.Endpoint} />`}
      <p>Everything can be had without that${!offer.isPlain && ": by the link above, and"} by</p><${Command} text=${getting()} />`}
    ${!opened.error && !root && html`<${Loading} />`}
    ${root && html`<div class="result">
      <${ResultTree} root=${root} path=${path} to=${to} />
      ${node ? html`<${Preview} contents=${opened.value.contents} node=${node} command=${getting(pattern(node.path))} to=${to} />`
        : html`<${Empty}>${path ? `Nothing in this result has the path ${visible(path)}.` : "Choose a file."}<//>`}
    </div>`}`;
}

/** A path that the command line does not take for an option. */
const pattern = (path) => (path.startsWith("-") ? `./${path}` : path);

/** The link expires, so it is made when it is wanted. */
function Archive({ offer }) {
  const [url, setUrl] = useState(offer.params.PreSignedURL);
  const [error, setError] = useState(null);
  useEffect(() => setUrl(offer.params.PreSignedURL), [offer]);
  const follow = async (event) => {
    if (!offer.isExpired) return;
    event.preventDefault();
    try {
      location.assign(await offer.link());
      setUrl(offer.params.PreSignedURL);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<a class="button" href=${url} rel="noreferrer" onClick=${follow}>Download all of it (.tar.gz)</a><${Problem} error=${error} />`;
}
