// How much of something is used: a bar, with its numbers beside it.

import { html } from "../vendor/preact.js";

/** `of` is all there is; `show` makes an amount readable. Without any, there is no bar. */
export function Bar({ label, used, of, show = (value) => `${value}` }) {
  if (!of) return html`<span class="soft">–</span>`;
  const share = Math.min(1, used / of);
  const text = `${show(used)} of ${show(of)}`;
  return html`<span class="bar" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round(share * 100)} aria-valuetext=${text} data-full=${share > 0.9 ? "" : undefined}>
    <span class="bar-ground" aria-hidden="true"><span style=${{ width: `${share * 100}%` }}></span></span>
    <span class="bar-text">${text}</span>
  </span>`;
}
