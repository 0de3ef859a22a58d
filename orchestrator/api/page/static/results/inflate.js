// Decompression by the browser's own means, bounded by what is to come out.

import { damaged } from "./problems.js";

/** A block ends with a flush and not with a last block, which the browser insists on: so an empty one follows. */
const EMPTY_LAST_BLOCK = new Uint8Array([3, 0]);

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(bytes) {
  let value = 0xffffffff;
  for (let at = 0; at < bytes.length; at += 1) value = TABLE[(value ^ bytes[at]) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** The `length` bytes of tar of one block of an archive, which are checked. */
export async function inflatedBlock(packed, length, crc) {
  const found = new Uint8Array(length);
  let filled = 0;
  for await (const piece of pieces([packed, EMPTY_LAST_BLOCK], "deflate-raw")) {
    if (filled + piece.length > length) throw damaged("a block of it has more than its index says");
    found.set(piece, filled);
    filled += piece.length;
  }
  if (filled < length || crc32(found) !== crc) throw damaged("a block of it is not what its index says");
  return found;
}

/** What gzip made of something, piece by piece. */
export const gunzipped = (packed) => pieces([packed], "gzip");

async function* pieces(parts, format) {
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream(format)).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => { throw damaged("what is compressed in it makes no sense"); });
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
