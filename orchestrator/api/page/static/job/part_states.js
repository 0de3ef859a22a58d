// How parts of a job stand, by the letters of the API: their names, and how each is drawn, by colour and by shape.

/** In the order of the legend. `tone` is a colour of the style sheet; shapes are what `pathOf` of the grid draws. */
export const PART_STATES = {
  r: { name: "Running", tone: "--running", shape: "play" },
  p: { name: "Publishing", tone: "--running", shape: "up" },
  n: { name: "On a node", tone: "--queued", shape: "ring" },
  a: { name: "To be tried again", tone: "--queued", shape: "diamond" },
  w: { name: "Waiting", tone: "--pending", shape: "dot" },
  c: { name: "Completed", tone: "--completed", shape: "full" },
  f: { name: "Failed", tone: "--failed", shape: "cross" },
  s: { name: "Stopped", tone: "--stopped", shape: "line" },
};

/** Of a job that has ended, parts without an attempt wait for nothing. */
export const nameOfPart = (letter, over) =>
  letter === "w" && over ? "Never begun" : (PART_STATES[letter]?.name ?? "Unknown");

/** How many parts there are of each letter. */
export function countsOf(states) {
  const counts = {};
  for (const letter of states) counts[letter] = (counts[letter] ?? 0) + 1;
  return counts;
}

/** The parts whose letter is among `letters`, all where none is given. */
export function partsOf(states, letters) {
  const found = [];
  for (let part = 0; part < states.length; part += 1) if (!letters || letters.includes(states[part])) found.push(part);
  return found;
}

/** `0-24,60` of ascending numbers, as the API takes it. */
export function rangesOf(parts) {
  const ranges = [];
  for (const part of parts) {
    const last = ranges.at(-1);
    if (last && last[1] === part - 1) last[1] = part;
    else ranges.push([part, part]);
  }
  return ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
}
