// Places in a job: reading and changing what is at one, and finding it in the job's text. Keys may be in any case.

const PARTS = /([A-Za-z_][\w-]*)|\[(\d+)\]/g;

/** `Tasks[0].Engine.Type` as its parts. */
export const partsOf = (path) => [...path.matchAll(PARTS)].map(([, key, number]) => key ?? Number(number));

function keyIn(value, part) {
  if (typeof part === "number") return part;
  const wanted = part.toLowerCase();
  return Object.keys(value).find((each) => each.toLowerCase() === wanted) ?? part;
}

const isTree = (value) => typeof value === "object" && value !== null;

/** What is at a path; undefined where nothing is. */
export function at(job, path) {
  return partsOf(path).reduce((value, part) => (isTree(value) ? (value[keyIn(value, part)] ?? undefined) : undefined), job);
}

/** The job with another value at a path. What is empty is left out, and what becomes empty by that too. */
export const changed = (job, path, value) => within(job, partsOf(path), value) ?? {};

function within(whole, [part, ...rest], value) {
  if (part === undefined) return isEmpty(value) ? undefined : value;
  const copy = Array.isArray(whole) ? [...whole] : isTree(whole) ? { ...whole } : typeof part === "number" ? [] : {};
  const key = keyIn(copy, part);
  const inner = within(copy[key], rest, value);
  if (inner !== undefined) copy[key] = inner;
  else if (Array.isArray(copy)) copy.splice(key, 1);
  else delete copy[key];
  return Object.keys(copy).length ? copy : undefined;
}

const isEmpty = (value) => value === undefined || value === null || value === "" || (isTree(value) && !Object.keys(value).length);

/** All places that hold something that is no object: `Tasks[].Engine.Type`, in small letters. */
export function leaves(value, path = "") {
  if (isEmpty(value)) return [];
  if (!isTree(value)) return [path];
  return Object.entries(value).flatMap(([key, inner]) =>
    leaves(inner, Array.isArray(value) ? `${path}[]` : `${path}${path ? "." : ""}${key.toLowerCase()}`));
}

/** In which line of YAML or JSON a path stands, from 0; the deepest part of it that is there. */
export function lineOf(text, path) {
  const lines = text.split("\n");
  let line = 0;
  let found = 0;
  for (const part of partsOf(path)) {
    const next = typeof part === "number" ? itemFrom(lines, line, part) : keyFrom(lines, line, part);
    if (next < 0) break;
    found = next;
    line = typeof part === "number" ? next : next + (lines[next].includes("{") || lines[next].includes("[") ? 0 : 1);
    if (typeof part === "number") line = next;
  }
  return found;
}

function keyFrom(lines, from, key) {
  const wanted = new RegExp(`^[\\s\\-{\\["']*${key}["']?\\s*:|[{,]\\s*["']?${key}["']?\\s*:`, "i");
  return lines.findIndex((each, at) => at >= from && wanted.test(each));
}

function itemFrom(lines, from, number) {
  const first = lines.findIndex((each, at) => at >= from && /^\s*-\s/.test(each));
  if (first < 0) return -1;
  const indent = lines[first].search(/-/);
  let left = number;
  return lines.findIndex((each, at) => at >= first && each.search(/\S/) === indent && each[indent] === "-" && left-- === 0);
}
