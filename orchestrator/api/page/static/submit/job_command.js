// The commands that run the same job: by flags where flags can say all of it, and by its file always.

import { at, leaves } from "./job_paths.js";
import { constraintLine, inputLine } from "../lib/job_text.js";
import { command } from "../lib/text.js";

/** What flags say; of a job that says more there is no such command. */
const SAID = new RegExp(`^(name|namespace|type|count|priority|labels\\..*|constraints\\[\\]\\..*|tasks\\[\\]\\.(name|engine\\.type|engine\\.params\\.(image|workingdirectory|(entrypoint|parameters)\\[\\])|publisher\\.type|env\\..*|inputsources\\[\\]\\..*|resultpaths\\[\\]\\.(name|path)|resources\\.(cpu|memory|disk|gpu)|network\\.type|timeouts\\.(totaltimeout|queuetimeout)))$`);

/** `{text}` of the command, or `{lacks}`: what no flag says. */
export function directCommand(job) {
  const engine = String(at(job, "Tasks[0].Engine.Type") ?? "").toLowerCase();
  if (engine !== "docker" && engine !== "process") return { lacks: [`the engine ${engine || "that is missing"}`] };
  const task = at(job, "Tasks[0]");
  const lacks = [...new Set(leaves(job).filter((each) => !SAID.test(each)))];
  if (constraintLine(at(job, "Constraints")) === undefined) lacks.push("constraints");
  if ((at(task, "InputSources") ?? []).some((each) => inputLine(each) === undefined)) lacks.push("inputsources");
  if ((at(job, "Tasks") ?? []).length > 1) lacks.push("several tasks");
  return lacks.length ? { lacks } : { text: command(...wordsOfJob(job, task, engine)) };
}

function wordsOfJob(job, task, engine) {
  const flag = (name, value) => (value === undefined || value === "" ? [] : [name, String(value)]);
  const each = (name, values) => values.flatMap((value) => [name, value]);
  const pairs = (of) => Object.entries(of ?? {}).map(([name, value]) => `${name}=${value}`);
  const params = at(task, "Engine.Params") ?? {};
  const [entry, parameters] = [at(params, "Entrypoint") ?? [], at(params, "Parameters") ?? []];
  const count = at(job, "Count");
  const name = at(task, "Name");
  return [
    "tarpon", ...(engine === "docker" ? ["docker", "run"] : ["exec"]),
    ...flag("--name", at(job, "Name")), ...flag("--namespace", at(job, "Namespace")), ...flag("--priority", at(job, "Priority") || ""),
    ...each("-l", pairs(at(job, "Labels"))), ...flag("--count", !count || count === 1 ? "" : count),
    ...(at(job, "Type") === "ops" ? ["--target", "all"] : []),
    ...flag("--constraints", constraintLine(at(job, "Constraints"))), ...flag("--task-name", name === "main" ? "" : name),
    ...each("-e", pairs(at(task, "Env"))), ...each("-i", (at(task, "InputSources") ?? []).map(inputLine)),
    ...each("-o", (at(task, "ResultPaths") ?? []).map((path) => `${at(path, "Name")}:${at(path, "Path")}`)),
    ...flag("-p", at(task, "Publisher.Type")),
    ...["CPU", "Memory", "Disk", "GPU"].flatMap((resource) => flag(`--${resource.toLowerCase()}`, at(task, `Resources.${resource}`))),
    ...flag("--network", at(task, "Network.Type")),
    ...flag("--timeout", at(task, "Timeouts.TotalTimeout") || ""), ...flag("--queue-timeout", at(task, "Timeouts.QueueTimeout") || ""),
    ...flag("-w", at(params, "WorkingDirectory")),
    ...(engine === "docker" ? [...each("--entrypoint", entry.map(String)), at(params, "Image") ?? "IMAGE"] : ["--", ...entry.map(String)]),
    ...parameters.map(String),
  ];
}
