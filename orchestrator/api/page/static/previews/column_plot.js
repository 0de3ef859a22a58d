// Columns of numbers as lines, drawn by uPlot; in words for who sees no picture. They are over the first column where its
// numbers rise, as steps and times do, and otherwise over the numbers of the rows.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { shortened } from "../lib/text.js";
import { coloursOf, useTheme } from "../parts/chart.js";
import Plot from "../vendor/uplot.js";

const HEIGHT = 220;
const COLOURS = ["running", "queued", "completed", "stopped", "failed", "pending"];
const SHOWN_FIRST = 3;
const OFFERED = 12;

/** `columns` is `[{name, values}]`. */
export function ColumnPlot({ columns }) {
  const over = columns.length > 1 && isRising(columns[0].values) ? columns[0] : null;
  const offered = (over ? columns.slice(1) : columns).slice(0, OFFERED);
  const [chosen, setChosen] = useState(() => new Set(offered.slice(0, SHOWN_FIRST).map((_, at) => at)));
  const box = useRef(null);
  const theme = useTheme();
  const lines = offered.map((each, at) => ({ ...each, colour: COLOURS[at % COLOURS.length] })).filter((_, at) => chosen.has(at));
  useEffect(() => {
    const plot = new Plot(optionsOf(box.current, lines), [over?.values ?? columns[0].values.map((_, at) => at + 1), ...lines.map((each) => each.values)], box.current);
    const watched = new ResizeObserver(() => box.current && plot.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    watched.observe(box.current);
    return () => {
      watched.disconnect();
      plot.destroy();
    };
  }, [columns, chosen, theme]);
  const toggle = (at) => setChosen((last) => {
    const next = new Set(last);
    if (!next.delete(at)) next.add(at);
    return next;
  });
  return html`<figure class="card column-plot">
    <figcaption>${offered.map((each, at) => html`<label key=${at}><input type="checkbox" checked=${chosen.has(at)} onChange=${() => toggle(at)} />
      <span class="swatch" style=${{ background: `var(--${COLOURS[at % COLOURS.length]})` }} aria-hidden="true"></span>
      ${shortened(each.name, 40)} <small>${inWords(each.values)}</small></label>`)}
      <span class="soft">over ${over ? shortened(over.name, 40) : "the number of the row"}</span></figcaption>
    <div ref=${box} aria-hidden="true"></div>
  </figure>`;
}

const isRising = (values) => values.every((each, at) => each !== null && (!at || each > values[at - 1]));

function inWords(values) {
  const known = values.filter((each) => each !== null);
  if (!known.length) return "no numbers";
  let [least, most] = [known[0], known[0]];
  for (const each of known) [least, most] = [Math.min(least, each), Math.max(most, each)];
  return `${short(least)} to ${short(most)}`;
}

const short = (value) => `${Number(value.toPrecision(4))}`;

function optionsOf(box, lines) {
  const colours = coloursOf(box, ["soft", "line", ...lines.map((each) => each.colour)]);
  const axis = { stroke: colours[0], grid: { stroke: colours[1], width: 1 }, ticks: { stroke: colours[1], width: 1 }, font: "11px system-ui, sans-serif" };
  return {
    width: box.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false } },
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map(short) }],
    series: [{}, ...lines.map((each, at) => ({ label: each.name, stroke: colours[at + 2], width: 1.5, points: { show: each.values.length < 40 } }))],
  };
}
