// The index beside an archive (shared/protocol/archive_index.py tells the format), read without trusting it.

import { gunzipped } from "./inflate.js";
import { nameOfBase64, plain } from "./names.js";
import { damaged, ResultProblem, tooLarge } from "./problems.js";

export const MOST_ENTRIES = 300_000;
const MOST_BLOCKS = 4_000_000;
const MOST_BYTES = 256 << 20;
const MOST_LINE = 64 << 10;
const MOST_BLOCK_BYTES = 16 << 20;
const VERSION = 1;
const FIRST_BLOCK_AT = 10;
const KINDS = new Set(["file", "directory", "symlink", "hardlink"]);

/**
 * `{entries, blocks}`: an entry is `{path, kind, size, at, target}`, with `at` in the tar; `blocks` has five columns,
 * `tarAt`, `tarBytes`, `at`, `bytes` and `crc`, of which `at` is in the archive.
 */
export async function readIndex(packed) {
  const found = { entries: [], blocks: { tarAt: [], tarBytes: [], at: [], bytes: [], crc: [] } };
  const state = { hasBegun: false, end: null, tarBytes: 0, at: FIRST_BLOCK_AT };
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let bytes = 0;
  for await (const piece of gunzipped(packed)) {
    bytes += piece.length;
    if (bytes > MOST_BYTES) throw tooLarge("The index of this result");
    const lines = (rest + decoded(decoder, piece)).split("\n");
    rest = lines.pop();
    if (rest.length > MOST_LINE) throw damaged("a line of its index is too long");
    for (const line of lines) take(parsed(line), found, state);
  }
  if (rest || !state.end) throw damaged("its index ends too early");
  return found;
}

function decoded(decoder, piece) {
  try {
    return decoder.decode(piece, { stream: true });
  } catch {
    throw damaged("its index is no text");
  }
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw damaged("a line of its index makes no sense");
  }
}

function take(line, found, state) {
  if (state.end) throw damaged("its index goes on after its end");
  if (!state.hasBegun) begin(line, state);
  else if (KINDS.has(line.kind)) addEntry(line, found.entries);
  else if (line.kind === "block") addBlock(line, found.blocks, state);
  else if (line.kind === "end") finish(line, found, state);
}

function begin(line, state) {
  if (line.kind !== "index") throw damaged("its index does not say what it is");
  if (line.version !== VERSION) throw new ResultProblem("ArchiveDamaged", "The index of the result is of a later version of Tarpon.", "Load this page again.");
  state.hasBegun = true;
}

function addEntry(line, entries) {
  if (entries.length >= MOST_ENTRIES) throw tooLarge(`A result of more than ${MOST_ENTRIES.toLocaleString("en")} entries`);
  const path = plain(line.path_base64 ? nameOfBase64(line.path_base64) : String(line.path ?? ""));
  const target = line.target_base64 ? nameOfBase64(line.target_base64) : String(line.target ?? "");
  const [size, at] = [line.size ?? 0, line.at ?? 0];
  if (!isCount(size) || !isCount(at)) throw damaged("its index names a file of no size");
  entries.push({ path, kind: line.kind, size, at, target });
}

function addBlock(line, blocks, state) {
  const [tarAt, at] = [line.tar_at ?? 0, line.at ?? 0];
  const [tarBytes, bytes] = [line.tar_bytes, line.bytes];
  if (blocks.at.length >= MOST_BLOCKS) throw tooLarge("A result of this size");
  if (tarAt !== state.tarBytes || at !== state.at) throw damaged("the blocks of its index do not follow one another");
  if (!isBlockSize(tarBytes) || !isBlockSize(bytes)) throw damaged("its index names a block of no size");
  state.tarBytes += tarBytes;
  state.at += bytes;
  const values = { tarAt, tarBytes, at, bytes, crc: line.crc32 };
  for (const [column, value] of Object.entries(values)) blocks[column].push(value);
}

function finish(line, found, state) {
  if (line.entries !== found.entries.length || line.tar_bytes !== state.tarBytes) throw damaged("its index counts other things than it has");
  state.end = line;
}

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isBlockSize = (value) => isCount(value) && value > 0 && value <= MOST_BLOCK_BYTES + (MOST_BLOCK_BYTES >> 8);
