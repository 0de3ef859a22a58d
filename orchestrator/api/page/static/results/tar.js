// A tar that is in memory, as what has no index is: its entries, with where their contents are.

import { nameOf, plain } from "./names.js";
import { damaged, tooLarge } from "./problems.js";
import { MOST_ENTRIES } from "./index_lines.js";

const BLOCK = 512;
const KINDS = { 0: "file", "\0": "file", 7: "file", 1: "hardlink", 2: "symlink", 5: "directory" };

/** Entries `{path, kind, size, at, target}`; what is no file, folder or link has the kind `special`. */
export function entriesOfTar(tar) {
  const found = [];
  let more = {};
  for (let at = 0; at + BLOCK <= tar.length && tar[at]; ) {
    const header = tar.subarray(at, at + BLOCK);
    check(header);
    const type = String.fromCharCode(header[156]);
    const size = more.size ?? number(header.subarray(124, 136));
    const content = at + BLOCK;
    if (!Number.isSafeInteger(size) || size < 0 || content + size > tar.length) throw damaged("it ends too early");
    at = content + Math.ceil(size / BLOCK) * BLOCK;
    const bytes = tar.subarray(content, content + size);
    if (type === "x") more = { ...more, ...extended(bytes) };
    else if (type === "L" || type === "K") more = { ...more, [type === "L" ? "path" : "target"]: text(bytes) };
    else if (type !== "g") {
      if (found.length >= MOST_ENTRIES) throw tooLarge("A result of so many entries");
      const kind = KINDS[type] ?? "special";
      const path = plain(more.path ?? pathOf(header));
      if (path) found.push({ path, kind, size: kind === "file" ? size : 0, at: content, target: more.target ?? text(header.subarray(157, 257)) });
      more = {};
    }
  }
  return found;
}

function pathOf(header) {
  const isPosix = nameOf(header.subarray(257, 263)) === "ustar\0";
  const prefix = isPosix ? text(header.subarray(345, 500)) : "";
  return (prefix && `${prefix}/`) + text(header.subarray(0, 100));
}

function text(field) {
  const end = field.indexOf(0);
  return nameOf(end < 0 ? field : field.subarray(0, end));
}

/** In octal, or in binary where the first bit says so. */
function number(field) {
  if (field[0] & 0x80) return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
  return parseInt(text(field).trim() || "0", 8);
}

function check(header) {
  let sum = 0;
  for (let at = 0; at < BLOCK; at += 1) sum += at >= 148 && at < 156 ? 32 : header[at];
  if (sum !== number(header.subarray(148, 156))) throw damaged("a header in it makes no sense");
}

/** Records of a pax header, `LENGTH KEY=VALUE\n`, of which three matter here. */
function extended(bytes) {
  const found = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? NaN : parseInt(nameOf(bytes.subarray(at, space)), 10);
    if (!(length > space - at + 1)) throw damaged("a header in it makes no sense");
    const record = bytes.subarray(space + 1, at + length - 1);
    const equals = record.indexOf(0x3d);
    const [key, value] = [nameOf(record.subarray(0, equals)), record.subarray(equals + 1)];
    if (key === "path") found.path = nameOf(value);
    if (key === "linkpath") found.target = nameOf(value);
    if (key === "size") found.size = parseInt(nameOf(value), 10);
    at += length;
  }
  return found;
}
