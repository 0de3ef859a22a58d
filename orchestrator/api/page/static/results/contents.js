// The contents of one result: its entries, and any part of any of its files, of which no more is moved than holds it.

import { gunzipped, inflatedBlock } from "./inflate.js";
import { readIndex } from "./index_lines.js";
import { damaged, ResultProblem, tooLarge } from "./problems.js";
import { entriesOfTar } from "./tar.js";

const MOST_INDEX_BYTES = 64 << 20;
/** Of what has no index: packed, and unpacked. */
const MOST_ARCHIVE_BYTES = 64 << 20;
const MOST_TAR_BYTES = 256 << 20;
/** As many bytes of blocks are asked for at a time. */
const AT_ONCE_BYTES = 4 << 20;
const MOST_READ_BYTES = 64 << 20;
/** Of blocks that were read, which another look at the same file may want. */
const KEPT_BYTES = 32 << 20;

/** `{entries, read, pieces}` of what is offered. Raises ResultProblem, and what aborts by `signal`. */
export const openResult = async (offer, signal) => {
  if (offer.isPlain) throw new ResultProblem("ResultIsPlain", "This result is an object for each file in the bucket, which this page does not read.", "The command line lists and fetches it.");
  return offer.hasIndex ? openIndexed(offer, signal) : openWhole(offer, signal);
};

async function openIndexed(offer, signal) {
  if (offer.params.IndexSize > MOST_INDEX_BYTES) throw tooLarge("An index of this size");
  const packed = await offer.index(signal);
  await checkDigest(packed, offer.params.IndexSHA256);
  return new Indexed(offer, await readIndex(packed));
}

/** Browsers compute digests for pages of https:// and of this machine alone. The blocks are checked in any case. */
async function checkDigest(bytes, expected) {
  if (!expected || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if (Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") !== expected) throw damaged("its index is not the one that was published");
}

class Contents {
  constructor(entries) {
    this.entries = entries;
    this.files = new Map(entries.filter((each) => each.kind === "file").map((each) => [each.path, each]));
  }

  /** The file behind an entry: itself, or that of which it is another name; null for what has no content. */
  fileOf(entry) {
    return entry.kind === "hardlink" ? (this.files.get(entry.target) ?? null) : entry.kind === "file" ? entry : null;
  }

  /** The bytes of a file from `from` up to `to`, which has to be a small part. */
  async read(file, from, to, signal) {
    if (to - from > MOST_READ_BYTES) throw tooLarge("So much of a file");
    const found = new Uint8Array(Math.max(0, Math.min(to, file.size) - from));
    let filled = 0;
    for await (const piece of this.pieces(file, from, from + found.length, signal)) {
      found.set(piece, filled);
      filled += piece.length;
    }
    return found;
  }
}

class Indexed extends Contents {
  constructor(offer, { entries, blocks }) {
    super(entries);
    this.offer = offer;
    this.blocks = blocks;
    this.kept = new Map();
    this.keptBytes = 0;
  }

  /** The same in pieces, with the memory of one. */
  async *pieces(file, from, to, signal) {
    const [start, end] = [file.at + from, file.at + to];
    if (start >= end) return;
    const { tarAt, tarBytes } = this.blocks;
    const last = this.#blockOf(end - 1);
    for (let number = this.#blockOf(start); number <= last; number += 1) {
      const tar = this.kept.get(number) ?? (await this.#fetched(number, last, signal));
      const at = tarAt[number];
      yield tar.subarray(Math.max(0, start - at), Math.min(tarBytes[number], end - at));
    }
  }

  /** The block that has this byte of the tar. */
  #blockOf(place) {
    const { tarAt, tarBytes } = this.blocks;
    let [low, high] = [0, tarAt.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (tarAt[middle] <= place) low = middle;
      else high = middle - 1;
    }
    if (low < 0 || !tarAt.length || place >= tarAt[low] + tarBytes[low]) throw damaged("the content of a file is in no block of it");
    return low;
  }

  /** This block; those after it up to `last` come with it and are kept, as long as it is not too much at once. */
  async #fetched(number, last, signal) {
    const { at, bytes, tarBytes, crc } = this.blocks;
    const begin = at[number];
    let after = number + 1;
    let room = tarBytes[number];
    while (after <= last && !this.kept.has(after) && at[after] + bytes[after] - begin <= AT_ONCE_BYTES && room + tarBytes[after] <= KEPT_BYTES / 2) {
      room += tarBytes[after];
      after += 1;
    }
    const packed = await this.offer.range(begin, at[after - 1] + bytes[after - 1], signal);
    for (let each = number; each < after; each += 1) {
      const from = at[each] - begin;
      this.#keep(each, await inflatedBlock(packed.subarray(from, from + bytes[each]), tarBytes[each], crc[each]));
    }
    return this.kept.get(number);
  }

  #keep(number, tar) {
    this.kept.set(number, tar);
    this.keptBytes += tar.length;
    for (const [oldest, content] of this.kept) {
      if (this.keptBytes <= KEPT_BYTES) break;
      this.kept.delete(oldest);
      this.keptBytes -= content.length;
    }
  }
}

async function openWhole(offer, signal) {
  if (offer.params.Size > MOST_ARCHIVE_BYTES)
    throw new ResultProblem("TooLargeForPage", "This result has no index, and is too large to be looked through here.", "The command line reads it in any size.");
  const pieces = [];
  let length = 0;
  for await (const piece of gunzipped(await offer.archive(signal))) {
    length += piece.length;
    if (length > MOST_TAR_BYTES) throw tooLarge("What this result unpacks to");
    pieces.push(piece);
  }
  const tar = new Uint8Array(await new Blob(pieces).arrayBuffer());
  return new Whole(tar);
}

class Whole extends Contents {
  constructor(tar) {
    super(entriesOfTar(tar));
    this.tar = tar;
  }

  async *pieces(file, from, to) {
    yield this.tar.subarray(file.at + from, file.at + to);
  }
}
