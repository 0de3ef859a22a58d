// The folders and files of a result as a tree, and the rows of it that are open.

import { tooLarge } from "./problems.js";

/** In the paths of all folders together: 300,000 of them, say, with 200 characters each. */
const MOST_CHARACTERS = 60_000_000;

/**
 * The root of a tree of nodes `{name, path, kind, size, count, entry, children}`: `size` and `count` of a folder are
 * those of all files in it, `entry` is absent where only what is below it is named, `children` is null of what is no folder.
 */
export function treeOf(entries) {
  const root = folder("", "", null);
  const folders = new Map([["", root]]);
  const room = { characters: MOST_CHARACTERS };
  for (const entry of entries) if (entry.path) add(folders, entry, room);
  sum(folders);
  for (const each of folders.values()) each.children.sort(byFolderAndName);
  return root;
}

const folder = (path, name, parent) => ({
  path, name, kind: "directory", size: 0, count: 0, entry: null, parent, depth: parent ? parent.depth + 1 : 0, children: [],
});

function add(folders, entry, room) {
  const end = entry.path.lastIndexOf("/");
  const parent = folderAt(folders, entry.path.slice(0, Math.max(0, end)), room);
  if (entry.kind === "directory") {
    folderAt(folders, entry.path, room).entry = entry;
    return;
  }
  parent.children.push({ path: entry.path, name: entry.path.slice(end + 1), kind: entry.kind, size: entry.size, count: 1, entry, parent, children: null });
}

/** The folder of this path, made where it is not named by an entry of its own. */
function folderAt(folders, path, room) {
  const missing = [];
  let at = path;
  while (!folders.has(at)) {
    room.characters -= at.length;
    if (room.characters < 0) throw tooLarge("A result of so many folders");
    missing.push(at);
    at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
  }
  let found = folders.get(at);
  for (const each of missing.reverse()) {
    const made = folder(each, each.slice(each.lastIndexOf("/") + 1), found);
    found.children.push(made);
    folders.set(each, made);
    found = made;
  }
  return found;
}

/** The deepest come first, so that each is complete when it is added to what it is in. */
function sum(folders) {
  for (const each of [...folders.values()].sort((one, other) => other.depth - one.depth)) {
    for (const child of each.children) if (!child.children) [each.size, each.count] = [each.size + child.size, each.count + 1];
    if (each.parent) [each.parent.size, each.parent.count] = [each.parent.size + each.size, each.parent.count + each.count];
  }
}

const byFolderAndName = (one, other) =>
  !one.children - !other.children || (one.name < other.name ? -1 : one.name > other.name ? 1 : 0);

/** `[{node, depth}]` of what is in open folders (a set of paths); with a filter all files whose path has it, at depth 0. */
export function rowsOf(root, open, filter = "") {
  const found = [];
  const wanted = filter.trim().toLowerCase();
  const waiting = [...root.children].reverse().map((node) => ({ node, depth: 0 }));
  while (waiting.length) {
    const row = waiting.pop();
    const isFolder = row.node.children !== null;
    if (!wanted) found.push(row);
    else if (!isFolder && row.node.path.toLowerCase().includes(wanted)) found.push({ node: row.node, depth: 0 });
    if (isFolder && (wanted || open.has(row.node.path)))
      for (let at = row.node.children.length - 1; at >= 0; at -= 1) waiting.push({ node: row.node.children[at], depth: row.depth + 1 });
  }
  return found;
}

/** The node of a path, or null. */
export function nodeAt(root, path) {
  let found = root;
  for (const name of path.split("/")) {
    found = found?.children?.find((each) => each.name === name);
    if (!found) return null;
  }
  return found;
}

/** Folders above a path. */
export function above(path) {
  const parts = path.split("/");
  return parts.slice(0, -1).map((_, at) => parts.slice(0, at + 1).join("/"));
}
