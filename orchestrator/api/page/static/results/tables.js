// Tables in results: rows of values, whatever they were written as.

import { parse } from "../vendor/papaparse.js";

export const MOST_ROWS = 2000;
export const MOST_COLUMNS = 50;

/** `{columns, rows, more}` of comma or tab separated text; `isCut` is whether its last line may be half a line. */
export function tableOfText(text, isCut) {
  const { data } = parse(text, { skipEmptyLines: true, preview: MOST_ROWS + 2 });
  if (isCut && data.length < MOST_ROWS + 2) data.pop();
  const width = data.reduce((most, row) => Math.max(most, row.length), 0);
  const hasHead = data.length > 1 && data[0].every((value) => !isNumber(value));
  const names = hasHead ? data.shift() : [];
  const columns = Array.from({ length: width }, (_, at) => names[at] ?? `${at + 1}`);
  return bounded(columns, data, isCut);
}

/** The same of a JSON value a line; of objects each key is a column. */
export function tableOfLines(text, isCut) {
  const lines = text.split("\n").filter((line) => line.trim());
  if (isCut) lines.pop();
  const values = lines.slice(0, MOST_ROWS + 1).map((line) => JSON.parse(line));
  const columns = new Set();
  for (const each of values) for (const key of isRecord(each) ? Object.keys(each) : ["value"]) columns.add(key);
  const shown = [...columns].slice(0, MOST_COLUMNS);
  const rows = values.map((each) => shown.map((key) => (isRecord(each) ? (Object.hasOwn(each, key) ? each[key] : null) : each)));
  return { ...bounded(shown, rows, isCut), width: columns.size };
}

const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function bounded(columns, rows, more) {
  return { columns: columns.slice(0, MOST_COLUMNS), rows: rows.slice(0, MOST_ROWS), more: more || rows.length > MOST_ROWS, width: columns.length };
}

const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;
const isNumber = (value) => typeof value === "number" || typeof value === "bigint" || (typeof value === "string" && NUMBER.test(value));
const isNothing = (value) => value === null || value === undefined || value === "" || /^(nan|null|na|none)$/i.test(value);

/** `[{name, values}]` of the columns that have numbers and nothing else; what is missing is null. */
export function numericColumns({ columns, rows }) {
  return columns
    .map((name, at) => ({ name, cells: rows.map((row) => row[at]) }))
    .filter(({ cells }) => cells.some(isNumber) && cells.every((value) => isNumber(value) || isNothing(value)))
    .map(({ name, cells }) => ({ name, values: cells.map((value) => (isNumber(value) && Number.isFinite(Number(value)) ? Number(value) : null)) }));
}

/** A value as text. */
export function cellText(value) {
  if (value === null || value === undefined) return "";
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "" : value.toISOString();
  if (ArrayBuffer.isView(value)) return Array.from(new Uint8Array(value.buffer, value.byteOffset, Math.min(value.byteLength, 64)), hex).join("");
  if (typeof value === "object") return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? `${each}` : each));
  return String(value);
}

const hex = (byte) => byte.toString(16).padStart(2, "0");
