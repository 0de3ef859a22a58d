// Parts of a job as one writes them in a line: assignments, inputs, results, what nodes must have, lengths of time.

import { at } from "../submit/job_paths.js";

/** `NAME=VALUE`, one a line. undefined where a line is none. */
export function assignments(text) {
  const pairs = text.split("\n").filter((each) => each.trim()).map((each) => each.trimStart().split(/=(.*)/s).slice(0, 2));
  return pairs.every(([name, value]) => name.trim() && value !== undefined) ? Object.fromEntries(pairs.map(([name, value]) => [name.trim(), value])) : undefined;
}

export const assignmentLines = (of) => Object.entries(of ?? {}).map(([name, value]) => `${name}=${value}`).join("\n");

/** `NAME:PATH`, one a line. */
export function resultPaths(text) {
  const pairs = text.split("\n").map((each) => each.trim()).filter(Boolean).map((each) => each.match(/^([^:]+):(.+)$/));
  return pairs.every(Boolean) ? pairs.map(([, name, path]) => ({ Name: name, Path: path })) : undefined;
}

export const resultLines = (of) => (of ?? []).map((each) => `${at(each, "Name") ?? ""}:${at(each, "Path") ?? ""}`).join("\n");

/** `URI:PATH`, one a line, as the command line takes inputs. */
export function inputs(text) {
  const found = text.split("\n").map((each) => each.trim()).filter(Boolean).map(inputOf);
  return found.every(Boolean) ? found : undefined;
}

function inputOf(line) {
  const [, uri, target] = line.match(/^(.+):(\/[^/].*|\/)$/) ?? [, line, "/inputs"];
  const [, scheme, rest] = uri.match(/^([a-z0-9]+):(.+)$/i) ?? [];
  const source = scheme && sourceOf(scheme.toLowerCase(), rest, uri);
  return source && { Source: source, Target: target };
}

function sourceOf(scheme, rest, uri) {
  const below = rest.replace(/^\/\//, "");
  const slash = below.indexOf("/");
  const [first, other] = slash < 0 ? [below, ""] : [below.slice(0, slash), below.slice(slash + 1)];
  if (scheme === "s3" && rest.startsWith("//")) return { Type: "s3", Params: { Bucket: first, ...(other && { Key: decoded(other) }) } };
  if ((scheme === "http" || scheme === "https") && rest.startsWith("//")) return { Type: "urlDownload", Params: { URL: uri } };
  if (scheme === "file") return { Type: "localDirectory", Params: { SourcePath: decoded(below) } };
  if (scheme === "job" && !rest.startsWith("/")) return { Type: "result", Params: { Job: first, ...(other && { Paths: [other] }) } };
  if (scheme === "upload" && !rest.startsWith("/")) return { Type: "upload", Params: { Data: rest } };
  return undefined;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** One input as a line; undefined for one that takes more than a line. */
export function inputLine(input) {
  const source = at(input, "Source") ?? {};
  const params = at(source, "Params") ?? {};
  const paths = at(params, "Paths") ?? [];
  const uri = {
    s3: () => `s3://${at(params, "Bucket")}/${encodeURI(at(params, "Key") ?? "")}`,
    urldownload: () => at(params, "URL"),
    localdirectory: () => `file://${encodeURI(at(params, "SourcePath") ?? "")}`,
    result: () => (paths.length > 1 ? undefined : `job:${at(params, "Job")}${paths.length ? `/${paths[0]}` : ""}`),
    upload: () => `upload:${at(params, "Data")}`,
  }[String(at(source, "Type") ?? "").toLowerCase()]?.();
  const line = uri && `${uri}:${at(input, "Target") ?? "/inputs"}`;
  return line && JSON.stringify(sorted(inputOf(line))) === JSON.stringify(sorted(input)) ? line : undefined;
}

/** The same with its keys in small letters and in their order, so that two can be compared. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toLowerCase(), key.toLowerCase() === "type" ? String(inner).toLowerCase() : sorted(inner)]).sort());
}

/** What nodes must have: `zone=a,gpu,!old`. undefined for what is no such list. */
export function constraints(text) {
  const found = text.split(",").map((each) => each.trim()).filter(Boolean).map((each) => {
    const [, key, operator, value] = each.match(/^([^=!<>\s]+)(?:(!=|==?)(.*))?$/) ?? [];
    if (key) return operator ? { Key: key, Operator: operator === "!=" ? "!=" : "=", Values: [value] } : { Key: key, Operator: "exists" };
    return /^![^=!<>\s]+$/.test(each) ? { Key: each.slice(1), Operator: "!" } : undefined;
  });
  return found.every(Boolean) ? found : undefined;
}

/** As a line; undefined where it takes more. */
export function constraintLine(of) {
  const parts = (of ?? []).map((each) => {
    const [key, operator, values] = [at(each, "Key"), at(each, "Operator"), at(each, "Values") ?? []];
    if ((operator === "=" || operator === "==" || operator === "!=") && values.length === 1) return `${key}${operator === "!=" ? "!=" : "="}${values[0]}`;
    return operator === "exists" ? key : operator === "!" ? `!${key}` : undefined;
  });
  return parts.every((each) => each !== undefined && !each.includes(",")) ? parts.join(",") : undefined;
}

/** Whole seconds of `600`, `90s` or `1h30m`; undefined for what is no length of time. */
export function wholeSeconds(text) {
  const trimmed = text.trim();
  if (/^\d*$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+(\.\d+)?[hms])+$/.test(trimmed)) return undefined;
  const units = { h: 3600, m: 60, s: 1 };
  return Math.ceil([...trimmed.matchAll(/([\d.]+)([hms])/g)].reduce((sum, [, number, unit]) => sum + number * units[unit], 0));
}

/** A whole number; undefined for other text. */
export const wholeNumber = (text) => (/^-?\d+$/.test(text.trim()) ? Number(text) : text.trim() ? undefined : "");
