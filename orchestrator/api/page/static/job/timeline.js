// The timeline of an attempt: its phases beside each other in proportion, and each with how long it took.

import { html } from "../vendor/preact.js";
import { seconds } from "../lib/format.js";
import { PHASES } from "./phases.js";

export function Timeline({ phases }) {
  if (!phases.length) return null;
  const lengths = phases.map(({ from, to }) => Math.max(0, to - from));
  const whole = Math.max(1, lengths.reduce((sum, each) => sum + each, 0));
  return html`<div class="timeline">
    <div class="phases" aria-hidden="true">${phases.map(({ name, open }, number) => html`<span key=${number}
      class=${`phase ${name}${open ? " open" : ""}`} style=${{ flexGrow: Math.max(lengths[number] / whole, 0.002) }} />`)}</div>
    <ul>${phases.map(({ name, open }, number) => html`<li key=${number} title=${PHASES[name]}>
      <span class=${`phase ${name}`} aria-hidden="true" />${name} <strong>${seconds(lengths[number] / 1000)}</strong>${open ? " so far" : ""}</li>`)}</ul>
  </div>`;
}
