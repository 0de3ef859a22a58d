// Texts of users, nodes and tasks, made fit to be seen: what would hide, move or reorder other text is written out.

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const UNSEEN_BUT_LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function written(character) {
  const code = character.codePointAt(0);
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** A name: control and bidirectional characters can be seen and do nothing. */
export const visible = (text) => String(text ?? "").replace(UNSEEN, written);

/** The same of sentences, which may be of several lines. */
export const sentences = (text) => visible(String(text ?? "").replace(/\s*\n\s*/g, " ").trim());

/** The same of a text with line ends and tabs, which stay. */
export const visibleLines = (text) => String(text ?? "").replace(/\r\n/g, "\n").replace(UNSEEN_BUT_LINES, written);

/** At most `most` characters of it, as it may be seen; a `…` tells that there are more. */
export const shortened = (text, most) => (text.length > most ? `${visible(text.slice(0, most - 1))}…` : visible(text));

/** The beginning of an id, as the command line takes it: `j-0a3b6548`. */
export const shortId = (id) => visible(id).slice(0, 10);

/** A word of a POSIX shell. */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A command line, each of whose words is taken as it is. */
export const command = (...words) => words.filter((each) => each !== "").map(quoted).join(" ");
