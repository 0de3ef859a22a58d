// Lines over time, drawn by uPlot in the colours of the theme; the same in words and as a table for who sees no picture.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import Plot from "../vendor/uplot.js";

const MOST_ROWS = 30;

/**
 * `times` are seconds since 1970; `series` is `[{label, colour, values}]`, where `colour` names a variable of the style
 * sheet and a value may be null; `show` makes a value readable. Of what is counted by interval, `sums` tells the sum.
 */
export function Chart({ title, times, series, show = (value) => `${value}`, sums = false, height = 150 }) {
  const box = useRef(null);
  const plot = useRef(null);
  const theme = useTheme();
  useEffect(() => {
    const options = optionsOf(box.current, height, series, show);
    plot.current = new Plot(options, [times, ...series.map((each) => each.values)], box.current);
    const watched = new ResizeObserver(() => box.current && plot.current.setSize({ width: box.current.clientWidth, height }));
    watched.observe(box.current);
    return () => {
      watched.disconnect();
      plot.current.destroy();
    };
  }, [theme, title]);
  useEffect(() => plot.current.setData([times, ...series.map((each) => each.values)]), [times, series]);
  return html`<figure class="chart card">
    <figcaption>
      <strong>${title}</strong>
      <ul>${series.map((each) => html`<li key=${each.label}><span class="swatch" style=${{ background: `var(--${each.colour})` }} aria-hidden="true"></span>${each.label}: ${inWords(each.values, show, sums)}</li>`)}</ul>
    </figcaption>
    <div ref=${box} aria-hidden="true" class="plot"></div>
    <${Table} title=${title} times=${times} series=${series} show=${show} />
  </figure>`;
}

function inWords(values, show, sums) {
  const known = values.filter((each) => each !== null && each !== undefined);
  if (!known.length) return "nothing yet";
  if (sums) return `${show(known.reduce((sum, each) => sum + each, 0))} in all`;
  return `${show(known.at(-1))} now, at most ${show(Math.max(...known))}`;
}

function Table({ title, times, series, show }) {
  const [isOpen, setOpen] = useState(false);
  const step = Math.max(1, Math.ceil(times.length / MOST_ROWS));
  const rows = isOpen ? times.map((_, at) => at).filter((at) => (times.length - 1 - at) % step === 0).reverse() : [];
  return html`<details onToggle=${(event) => setOpen(event.target.open)}>
    <summary>As a table</summary>
    ${isOpen && html`<div class="scroll" tabindex="0" role="region" aria-label=${`${title}, as a table`}><table>
      <thead><tr><th scope="col">Time</th>${series.map((each) => html`<th key=${each.label} scope="col" class="number">${each.label}</th>`)}</tr></thead>
      <tbody>${rows.map((at) => html`<tr key=${times[at]}><td>${clock(times[at])}</td>${series.map((each) => html`<td key=${each.label} class="number">${each.values[at] === null || each.values[at] === undefined ? "" : show(each.values[at])}</td>`)}</tr>`)}</tbody>
    </table></div>`}
  </details>`;
}

const clock = (time) => new Date(time * 1000).toTimeString().slice(0, 8);

function optionsOf(box, height, series, show) {
  const [text, grid, ...lines] = coloursOf(box, ["soft", "line", ...series.map((each) => each.colour)]);
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "11px system-ui, sans-serif" };
  return {
    width: box.clientWidth,
    height,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((each) => new Date(each * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 72, values: (_, ticks) => ticks.map(show).map((each, at, all) => (each === all[at - 1] ? "" : each)) },
    ],
    series: [{}, ...series.map((each, at) => ({ label: each.label, stroke: lines[at], width: 2, points: { show: false }, spanGaps: false }))],
  };
}

/** A canvas takes no variables of a style sheet, so the browser is asked what these are at present. */
export function coloursOf(box, names) {
  const probe = document.createElement("span");
  box.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}

/** Changes whenever the theme does, be it by the page or by the browser. */
export function useTheme() {
  const [turns, setTurns] = useState(0);
  useEffect(() => {
    const turn = () => setTurns((last) => last + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const watched = new MutationObserver(turn);
    watched.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    dark.addEventListener("change", turn);
    return () => {
      watched.disconnect();
      dark.removeEventListener("change", turn);
    };
  }, []);
  return turns;
}
