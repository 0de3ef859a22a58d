// The first rows of a Parquet file, of which only its end and what holds these rows is read.

import { parquetMetadataAsync, parquetRead } from "../vendor/hyparquet.js";
import { ResultProblem } from "./problems.js";
import { bounded, MOST_COLUMNS } from "./tables.js";

const ROWS = 200;
const MOST_BYTES = 32 << 20;
const READ = new Set(["UNCOMPRESSED", "SNAPPY"]);

/** `{columns, rows, more, width, facts}`. `read(from, to)` gives bytes of the file, which has `size` of them. */
export async function tableOfParquet(size, read) {
  const file = { byteLength: size, slice: async (from, to = size) => (await read(from < 0 ? size + from : from, to)).buffer };
  const metadata = await parquetMetadataAsync(file);
  const total = Number(metadata.num_rows);
  const { names, width } = chosenColumns(metadata);
  let rows = [];
  await parquetRead({ file, metadata, columns: names, rowStart: 0, rowEnd: Math.min(ROWS, total), useOffsetIndex: true, onComplete: (found) => { rows = found; } });
  return { ...bounded(names, rows, total > rows.length), width, facts: factsOf(metadata, total) };
}

/** As many of the first columns as are not too much to be read for their first rows. */
function chosenColumns(metadata) {
  const sizes = new Map();
  for (const { meta_data: column } of metadata.row_groups[0]?.columns ?? []) {
    if (!READ.has(column.codec)) throw new ResultProblem("CompressionNotRead", `This Parquet file is compressed with ${column.codec}, which is not read here.`, "UNCOMPRESSED and SNAPPY are. Download the file.");
    const name = column.path_in_schema[0];
    sizes.set(name, (sizes.get(name) ?? 0) + Number(column.total_compressed_size));
  }
  const names = [];
  let bytes = 0;
  for (const [name, size] of sizes) {
    bytes += size;
    if (bytes > MOST_BYTES || names.length >= MOST_COLUMNS) break;
    names.push(name);
  }
  if (sizes.size && !names.length) throw new ResultProblem("TooLargeForPage", "The first row group of this Parquet file is too large to be looked at here.", "Download the file.");
  return { names, width: sizes.size };
}

const factsOf = (metadata, total) => [
  ["Rows", total.toLocaleString("en")],
  ["Row groups", metadata.row_groups.length.toLocaleString("en")],
  ["Compression", [...new Set(metadata.row_groups.flatMap((group) => group.columns.map((each) => each.meta_data?.codec)))].join(", ")],
  ["Written by", metadata.created_by],
];
