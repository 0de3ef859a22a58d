// A grid of a job's parts: a cell for each, of which ten thousand are one picture that is drawn anew where it changed.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js";
import { partName } from "./jobs.js";
import { nameOfPart, PART_STATES } from "./part_states.js";

/** Sizes of cells in CSS pixels, by up to how many parts they are for. */
const SIZES = [[64, 28], [400, 20], [2500, 14], [Infinity, 11]];
const FADED = 0.18;

const sizeFor = (number) => SIZES.find(([most]) => number <= most)[1];

/** `states` has a letter for each part; those in `letters` stand out where there are some. */
export function PartGrid({ job, states, letters, chosen, over, onChoose }) {
  const frame = useRef(null);
  const canvas = useRef(null);
  const drawn = useRef({ key: "", states: "" });
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState(null);
  const theme = useTheme();
  const size = sizeFor(states.length);
  const columns = Math.max(1, Math.min(states.length, Math.floor(width / size)));
  const rows = Math.ceil(states.length / columns);
  const cursor = at ?? chosen;
  useLayoutEffect(() => {
    const look = () => setWidth(frame.current.clientWidth);
    look();
    const observer = new ResizeObserver(look);
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (!width) return;
    const key = JSON.stringify([columns, rows, size, letters, theme, devicePixelRatio]);
    const before = drawn.current.key === key ? drawn.current.states : null;
    draw(canvas.current, { states, before, letters, columns, rows, size });
    drawn.current = { key, states };
  });
  const partAt = (event) => {
    const column = Math.floor(event.offsetX / size);
    const part = Math.floor(event.offsetY / size) * columns + column;
    return column < columns && part >= 0 && part < states.length ? part : null;
  };
  const move = (event) => {
    const next = moved(event.key, cursor ?? 0, columns, states.length);
    if (next !== null) {
      event.preventDefault();
      setAt(next);
    } else if ((event.key === "Enter" || event.key === " ") && cursor !== null) {
      event.preventDefault();
      onChoose(cursor);
    }
  };
  const told = cursor === null || cursor >= states.length ? "" : `${partName(job, cursor)}: ${nameOfPart(states[cursor], over)}`;
  return html`<div class="part-grid" ref=${frame}>
    <div class="cells" role="application" tabindex="0" aria-roledescription="grid of parts"
      aria-label="Parts: arrow keys move, Enter shows the attempts of a part. The table below has the same." onKeyDown=${move}>
      <canvas ref=${canvas} aria-hidden="true" style=${{ width: `${columns * size}px`, height: `${rows * size}px` }}
        onPointerMove=${(event) => setAt(partAt(event))} onPointerLeave=${() => setAt(null)}
        onClick=${(event) => { const part = partAt(event); if (part !== null) onChoose(part); }} />
      <${Mark} name="cursor" part=${cursor} columns=${columns} size=${size} />
      <${Mark} name="chosen" part=${chosen} columns=${columns} size=${size} />
    </div>
    <p class="told" aria-live="polite">${told || "Point at a part, or move with the arrow keys."}</p>
  </div>`;
}

/** A frame around a cell, beside the picture, so that nothing is drawn anew when it moves. */
function Mark({ name, part, columns, size }) {
  if (part === null) return null;
  const at = `translate(${(part % columns) * size}px, ${Math.floor(part / columns) * size}px)`;
  return html`<span class=${`mark ${name}`} style=${{ width: `${size}px`, height: `${size}px`, transform: at }} />`;
}

function moved(key, from, columns, number) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 10 * columns, PageUp: -10 * columns };
  if (key === "Home") return 0;
  if (key === "End") return number - 1;
  return key in steps ? Math.min(number - 1, Math.max(0, from + steps[key])) : null;
}

/** A text that is another one whenever colours are. */
function useTheme() {
  const now = () => `${document.documentElement.dataset.theme}${matchMedia("(prefers-color-scheme: dark)").matches}`;
  const [theme, setTheme] = useState(now);
  useEffect(() => {
    const look = () => setTheme(now());
    const observer = new MutationObserver(look);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const preference = matchMedia("(prefers-color-scheme: dark)");
    preference.addEventListener("change", look);
    return () => { observer.disconnect(); preference.removeEventListener("change", look); };
  }, []);
  return theme;
}

/** Where the picture of `before` is there, only the cells that differ from it. */
function draw(canvas, { states, before, letters, columns, rows, size }) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(columns * size * ratio), Math.round(rows * size * ratio)];
  const fresh = before === null || before.length !== states.length || canvas.width !== width || canvas.height !== height;
  if (fresh) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const colours = coloursOf(canvas);
  const shapes = {};
  for (let part = 0; part < states.length; part += 1) {
    const letter = states[part];
    if (!fresh && before[part] === letter) continue;
    const [x, y] = [(part % columns) * size, Math.floor(part / columns) * size];
    if (!fresh) pen.clearRect(x, y, size, size);
    shapes[letter] ??= pathOf(PART_STATES[letter]?.shape ?? "dot", size - (size > 12 ? 3 : 2));
    pen.globalAlpha = !letters || letters.includes(letter) ? 1 : FADED;
    pen.fillStyle = colours[letter];
    pen.setTransform(ratio, 0, 0, ratio, x * ratio, y * ratio);
    pen.fill(shapes[letter], "evenodd");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  pen.globalAlpha = 1;
}

function coloursOf(element) {
  const probe = element.parentElement;
  const before = probe.style.color;
  const found = {};
  for (const [letter, { tone }] of Object.entries(PART_STATES)) {
    probe.style.color = `var(${tone})`;
    found[letter] = getComputedStyle(probe).color;
  }
  probe.style.color = before;
  return found;
}

/** A shape of `side` pixels, at a distance of one from the corner of its cell. */
export function pathOf(shape, side) {
  const path = new Path2D();
  const [low, high, middle] = [1, 1 + side, 1 + side / 2];
  const lines = (...points) => {
    points.forEach(([x, y], number) => (number ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  };
  const third = side / 3.2;
  switch (shape) {
    case "full": path.rect(low, low, side, side); break;
    case "ring": path.rect(low, low, side, side); path.rect(low + 2, low + 2, side - 4, side - 4); break;
    case "dot": path.arc(middle, middle, side / 5, 0, 7); break;
    case "play": lines([low, low], [high, middle], [low, high]); break;
    case "up": lines([low, high], [middle, low], [high, high]); break;
    case "diamond": lines([middle, low], [high, middle], [middle, high], [low, middle]); break;
    case "line": path.rect(low, middle - side / 5, side, side / 2.5); break;
    case "cross":
      lines([low, low + third / 1.5], [low + third / 1.5, low], [middle, middle - third / 1.5], [high - third / 1.5, low],
        [high, low + third / 1.5], [middle + third / 1.5, middle], [high, high - third / 1.5], [high - third / 1.5, high],
        [middle, middle + third / 1.5], [low + third / 1.5, high], [low, high - third / 1.5], [middle - third / 1.5, middle]);
      break;
  }
  return path;
}
