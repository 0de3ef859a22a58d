// Lines of a log within bounds: the newest ones stay, and it is counted how many have gone.

import { visible } from "../lib/text.js";

export const MOST_BYTES = 8 << 20;
export const MOST_LINES = 200_000;
const MOST_OF_A_LINE = 10_000;
const COLOURS = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

/** `lines` are `{type, text}`, of which the last one of each stream may go on. */
export class LogLines {
  constructor() {
    this.lines = [];
    this.dropped = 0;
    this._size = 0;
    this._open = {};
  }

  /** Some text of stdout (1) or stderr (2), from where the last one of it ended. */
  add(type, text) {
    const pieces = text.split("\n");
    pieces.forEach((piece, number) => {
      if (number < pieces.length - 1 || piece) this._append(type, piece);
      if (number < pieces.length - 1) delete this._open[type];
    });
    this._shorten();
  }

  _append(type, piece) {
    let line = this._open[type];
    if (!line || line.raw.length > MOST_OF_A_LINE) {
      line = { type, raw: "", text: "" };
      this.lines.push(line);
      this._open[type] = line;
    }
    line.raw += piece;
    this._size += piece.length;
    line.text = shown(line.raw);
  }

  _shorten() {
    if (this._size <= MOST_BYTES && this.lines.length <= MOST_LINES) return;
    let gone = 0;
    while (gone < this.lines.length - 1 && (this._size > MOST_BYTES * 0.9 || this.lines.length - gone > MOST_LINES * 0.9)) {
      this._size -= this.lines[gone].raw.length;
      gone += 1;
    }
    this.lines.splice(0, gone);
    this.dropped += gone;
  }
}

/** Without colours; of what was written over itself, such as a progress bar, what is seen last. */
function shown(raw) {
  const plain = raw.replace(COLOURS, "").replace(/\r+$/, "");
  return visible(plain.slice(plain.lastIndexOf("\r") + 1).replaceAll("\t", "    "));
}

/** The places of the lines that have `words`, whatever their case. */
export function found(lines, words) {
  const wanted = words.toLowerCase();
  const places = [];
  if (wanted) lines.forEach(({ text }, place) => { if (text.toLowerCase().includes(wanted)) places.push(place); });
  return places;
}
