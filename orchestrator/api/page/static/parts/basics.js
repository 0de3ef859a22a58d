// Small pieces that every view is made of.

import { html, useEffect, useRef } from "../vendor/preact.js";

/** The letter beside the colour is for who cannot tell colours apart. */
const LETTERS = { Pending: "P", Queued: "Q", Running: "R", Completed: "C", Failed: "F", Stopped: "S" };

export const State = ({ name }) =>
  html`<span class="state" data-state=${name}><span aria-hidden="true">${LETTERS[name] ?? "·"}</span>${name}</span>`;

/** An error of the API or of the page: what happened, and what can be done. */
export const Problem = ({ error }) =>
  error &&
  html`<div class="problem" role="alert">
    <strong>${error.message}</strong>
    ${error.hint && html`<div>${error.hint}</div>`}
    <small>${error.code}</small>
  </div>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export const Loading = () => html`<p class="loading" role="status">Loading …</p>`;

/** A list of names and values. `of` is `[[name, value], ...]`; what has no value is left out. */
export const Facts = ({ of }) =>
  html`<dl class="facts">
    ${of
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;

/** A question that is answered by a button of its own; Escape and `onCancel` are no. */
export function Confirm({ title, children, action, danger, onYes, onCancel }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), []);
  return html`<dialog ref=${dialog} onCancel=${onCancel} aria-labelledby="confirm-title">
    <form method="dialog" onSubmit=${(event) => { event.preventDefault(); onYes(); }}>
      <h2 id="confirm-title">${title}</h2>
      ${children}
      <div class="row end">
        <button type="button" onClick=${onCancel}>Cancel</button>
        <button type="submit" class=${danger ? "danger" : "primary"}>${action}</button>
      </div>
    </form>
  </dialog>`;
}

/** Tabs that are links: `of` is `[[name, label], ...]`, `to` makes the address of one. */
export const Tabs = ({ of, current, to, label }) =>
  html`<nav class="tabs" aria-label=${label}>
    ${of.map(
      ([name, text]) =>
        html`<a key=${name} href=${to(name)} aria-current=${name === current ? "page" : undefined}>${text}</a>`,
    )}
  </nav>`;
