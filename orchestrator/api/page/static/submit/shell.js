// Commands as a shell takes them: with a document to read, and taken apart into their words.

import { command } from "../lib/text.js";

/** A document as the standard input of a command. Its end marker is no line of the document. */
export function withDocument(words, text) {
  let end = "JOB";
  while (text.split("\n").includes(end)) end += "_";
  return `${command(...words)} <<'${end}'\n${text.endsWith("\n") ? text : `${text}\n`}${end}`;
}

/** The words of a line, by the quotes and backslashes of sh; nothing is expanded. null where a quote is open. */
export function wordsOf(line) {
  const words = [];
  let word = null;
  let quote = "";
  for (let at = 0; at < line.length; at += 1) {
    const char = line[at];
    if (quote === "'") {
      if (char === "'") quote = "";
      else word += char;
    } else if (char === "\\" && at + 1 < line.length && (!quote || '"\\$`'.includes(line[at + 1]))) {
      at += 1;
      word = (word ?? "") + line[at];
    } else if (quote) {
      if (char === quote) quote = "";
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + char;
  }
  if (quote) return null;
  if (word !== null) words.push(word);
  return words;
}
