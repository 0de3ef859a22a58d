// An array that NumPy saved: what it is, and its first values.

import { ResultProblem } from "./problems.js";
import { bounded } from "./tables.js";

const ROWS = 1000;
const MOST_COLUMNS = 50;
const READERS = {
  f4: ["getFloat32", 4], f8: ["getFloat64", 8], i1: ["getInt8", 1], i2: ["getInt16", 2], i4: ["getInt32", 4], i8: ["getBigInt64", 8],
  u1: ["getUint8", 1], u2: ["getUint16", 2], u4: ["getUint32", 4], u8: ["getBigUint64", 8], b1: ["getUint8", 1],
};

/** `{columns, rows, more, width, facts}`. `read(from, to)` gives bytes of the file. */
export async function tableOfNpy(read) {
  const start = await read(0, 12);
  const view = new DataView(start.buffer, start.byteOffset, start.length);
  const isOld = start[6] === 1;
  const begin = isOld ? 10 : 12;
  const length = isOld ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > 65536) throw unreadable("its header is too long");
  const header = new TextDecoder("latin1").decode(await read(begin, begin + length));
  const type = /'descr':\s*'([<>|=]?)(\w+)'/.exec(header);
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1].split(",").filter((each) => each.trim()).map(Number);
  const reader = type && Object.hasOwn(READERS, type[2]) ? READERS[type[2]] : null;
  const facts = [["Shape", shape?.join(" × ") || "one value"], ["Type", type ? type[1] + type[2] : "of several fields"]];
  if (!reader || !shape || /'fortran_order':\s*True/.test(header)) return { columns: [], rows: [], more: true, width: 0, facts };
  const wide = shape.length > 1 ? shape.slice(1).reduce((product, each) => product * each, 1) : 1;
  const high = shape.length ? shape[0] : 1;
  const taken = { rows: Math.min(high, ROWS, Math.floor((4 << 20) / (wide * reader[1] || 1))), columns: Math.min(wide, MOST_COLUMNS) };
  const data = await read(begin + length, begin + length + taken.rows * wide * reader[1]);
  const values = new DataView(data.buffer, data.byteOffset, data.length);
  const value = (row, column) => values[reader[0]]((row * wide + column) * reader[1], type[1] !== ">");
  const rows = Array.from({ length: taken.rows }, (_, row) => Array.from({ length: taken.columns }, (__, column) => value(row, column)));
  const columns = Array.from({ length: taken.columns }, (_, at) => (wide === 1 ? "value" : `${at}`));
  return { ...bounded(columns, rows, high > taken.rows), width: wide, facts };
}

const unreadable = (why) => new ResultProblem("FileNotRead", `This array is not read here: ${why}.`, "Download the file.");
