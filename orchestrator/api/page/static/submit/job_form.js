// A job as a form: the common case. What it has no field for stays in the job, and is seen in the editor.

import { html } from "../vendor/preact.js";
import { at, changed } from "./job_paths.js";
import {
  assignmentLines, assignments, constraintLine, constraints, inputLine, inputs, resultLines, resultPaths, wholeNumber, wholeSeconds,
} from "../lib/job_text.js";
import { choicesOf, hintOf } from "./engines.js";
import { wordsOf } from "./shell.js";
import { command } from "../lib/text.js";
import { Choice, Field } from "../parts/field.js";

const TASK = "Tasks[0]";
const PARAMS = `${TASK}.Engine.Params`;
const NETWORKS = [["", "default"], ...["None", "Bridge", "Host", "HTTP", "Full"].map((each) => [each, each])];
const PUBLISHERS = [["", "none"], ["s3managed", "s3managed"]];
const list = (value) => (Array.isArray(value) ? value : []);

/** `problemAt(path)` is what the API says of what is at a path or below it; `offered` are the engines of nodes. */
export function JobForm({ job, offered, onChange, problemAt }) {
  const set = (path) => (value) => onChange(changed(job, path, value));
  const text = (label, path, more = {}) => html`<${Field} key=${path} label=${label} value=${at(job, path)} problem=${problemAt(path)} onChange=${set(path)} ...${more} />`;
  const engine = String(at(job, `${TASK}.Engine.Type`) ?? "").toLowerCase();
  const setEngine = (type) => onChange(changed(changed(job, `${TASK}.Engine`, undefined), `${TASK}.Engine`, { Type: type, Params: paramsFor(type, at(job, PARAMS)) }));
  const seconds = { read: wholeSeconds, format: "a length of time, such as 600 or 1h30m", inputmode: "text" };
  return html`<form class="job-form" aria-label="Job" onSubmit=${(event) => event.preventDefault()}>
    <fieldset><legend>Job</legend>
      ${text("Name", "Name", { hint: "The same name again is a new version of the same job." })}
      ${text("Namespace", "Namespace")}
      ${text("Parts", "Count", { read: wholeNumber, format: "a whole number", inputmode: "numeric" })}
      ${text("Priority", "Priority", { read: wholeNumber, format: "a whole number", inputmode: "numeric" })}
      ${text("Labels", "Labels", { show: assignmentLines, read: assignments, format: "NAME=VALUE in each line", lines: 2, hint: "NAME=VALUE, one a line" })}
      <${Constraints} job=${job} set=${set} problem=${problemAt("Constraints")} />
    </fieldset>
    <fieldset><legend>Task</legend>
      <${Choice} label="Engine" value=${engine} of=${choicesOf(offered, engine)} hint=${hintOf(engine)} problem=${problemAt(`${TASK}.Engine.Type`)} onChange=${setEngine} />
      ${engine === "docker" && text("Image", `${PARAMS}.Image`)}
      ${engine === "docker" && html`<${Words} label="Entrypoint" job=${job} path=${`${PARAMS}.Entrypoint`} set=${set} problemAt=${problemAt} hint="In place of the image's own" />
        <${Words} label="Command" job=${job} path=${`${PARAMS}.Parameters`} set=${set} problemAt=${problemAt} hint="As in a shell: quotes keep words together" />`}
      ${engine === "process" && html`<${ProcessCommand} job=${job} onChange=${onChange} problem=${problemAt(`${PARAMS}.Entrypoint`) || problemAt(`${PARAMS}.Parameters`)} />`}
      ${engine === "wasm" && html`${text("Module", `${PARAMS}.EntryModule`, { hint: "The target of an input, or a path below one" })}
        <${Words} label="Arguments" job=${job} path=${`${PARAMS}.Parameters`} set=${set} problemAt=${problemAt} hint="As in a shell: quotes keep words together" />`}
      ${["docker", "process"].includes(engine) && text("Working directory", `${PARAMS}.WorkingDirectory`)}
      ${text("Environment", `${TASK}.Env`, { show: assignmentLines, read: assignments, format: "NAME=VALUE in each line", lines: 3, hint: "NAME=VALUE, one a line. A password is no text: write secret:NAME." })}
      <${Choice} label="Network" value=${at(job, `${TASK}.Network.Type`) ?? ""} of=${NETWORKS} problem=${problemAt(`${TASK}.Network`)} onChange=${set(`${TASK}.Network.Type`)} />
    </fieldset>
    <fieldset><legend>Inputs and results</legend>
      <${Inputs} job=${job} set=${set} problem=${problemAt(`${TASK}.InputSources`)} />
      <${Choice} label="Publisher" value=${String(at(job, `${TASK}.Publisher.Type`) ?? "").toLowerCase()} of=${PUBLISHERS} hint="Without one only the beginning of the output is kept" problem=${problemAt(`${TASK}.Publisher`)} onChange=${set(`${TASK}.Publisher.Type`)} />
      ${text("Result folders", `${TASK}.ResultPaths`, { show: resultLines, read: resultPaths, format: "NAME:PATH in each line", lines: 2, hint: "NAME:PATH, one a line, such as outputs:/outputs" })}
    </fieldset>
    <fieldset><legend>Resources of a part</legend>
      ${text("Cores", `${TASK}.Resources.CPU`, { hint: "2 or 500m" })}
      ${text("Memory", `${TASK}.Resources.Memory`, { hint: "512MB or 4Gi" })}
      ${text("Disk", `${TASK}.Resources.Disk`, { hint: "10GB" })}
      ${text("GPUs", `${TASK}.Resources.GPU`)}
    </fieldset>
    <fieldset><legend>Time-outs</legend>
      ${text("Of a task", `${TASK}.Timeouts.ExecutionTimeout`, { ...seconds, hint: "600 or 1h30m" })}
      ${text("Of waiting", `${TASK}.Timeouts.QueueTimeout`, seconds)}
      ${text("Of the job in all", `${TASK}.Timeouts.TotalTimeout`, seconds)}
    </fieldset>
  </form>`;
}

/** The words of a command that another engine keeps. */
function paramsFor(type, params) {
  const words = [...list(at(params, "Entrypoint")), ...list(at(params, "Parameters"))];
  const folder = at(params, "WorkingDirectory");
  if (type === "docker") return { Image: at(params, "Image") ?? "", Parameters: words, ...(folder && { WorkingDirectory: folder }) };
  if (type === "process") return { Entrypoint: words.slice(0, 1), Parameters: words.slice(1), ...(folder && { WorkingDirectory: folder }) };
  if (type === "wasm") return { EntryModule: at(params, "EntryModule") ?? "", Parameters: words };
  return undefined;
}

const words = { show: (value) => command(...list(value).map(String)), read: (text) => wordsOf(text) ?? undefined, format: "a command: a quote is open", class: "mono" };

const Words = ({ label, job, path, set, problemAt, hint }) =>
  html`<${Field} label=${label} value=${at(job, path)} onChange=${set(path)} problem=${problemAt(path)} hint=${hint} ...${words} />`;

function ProcessCommand({ job, onChange, problem }) {
  const value = [...list(at(job, `${PARAMS}.Entrypoint`)), ...list(at(job, `${PARAMS}.Parameters`))];
  const change = (found) => onChange(changed(changed(job, `${PARAMS}.Entrypoint`, found.slice(0, 1)), `${PARAMS}.Parameters`, found.slice(1)));
  return html`<${Field} label="Command" value=${value} onChange=${change} problem=${problem} hint="As in a shell: quotes keep words together. A pipe takes sh -c '...'." ...${words} />`;
}

/** What takes more than a line stays as it is, behind what the lines say. */
function Inputs({ job, set, problem }) {
  const all = list(at(job, `${TASK}.InputSources`));
  const others = all.filter((each) => inputLine(each) === undefined);
  return html`<${Field} label="Inputs" value=${all} lines=${3} problem=${problem} class="mono" format="URI:PATH in each line"
    show=${(value) => list(value).map(inputLine).filter(Boolean).join("\n")} read=${inputs} onChange=${(found) => set(`${TASK}.InputSources`)([...found, ...others])}
    hint=${`URI:PATH, one a line: s3://BUCKET/KEY, https://…, file:///PATH of the node, job:JOB/PATH, upload:DATA.${others.length ? ` ${others.length} more can be changed in the editor alone.` : ""}`} />`;
}

function Constraints({ job, set, problem }) {
  const line = constraintLine(at(job, "Constraints"));
  if (line === undefined) return html`<p class="soft">What nodes must have can be changed in the editor alone.</p>`;
  return html`<${Field} label="Nodes that have" value=${at(job, "Constraints")} show=${constraintLine} read=${constraints} problem=${problem}
    format="a list such as zone=a,gpu" hint="Labels, such as zone=a,gpu,!old" onChange=${set("Constraints")} />`;
}
