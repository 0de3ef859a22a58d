// Small pieces of what is told about jobs.

import { html } from "../vendor/preact.js";
import { linkTo } from "../lib/hooks.js";
import { visible } from "../lib/text.js";

/** A name as its author gave it; it cannot reorder what stands beside it. */
export const Name = ({ of }) => html`<bdi class="name">${visible(of)}</bdi>`;

export const Labels = ({ of, onPick }) =>
  html`<span class="labels">
    ${Object.entries(of ?? {}).map(([key, value]) => {
      const text = `${visible(key)}=${visible(value)}`;
      return onPick
        ? html`<button key=${key} type="button" class="label" title="Only jobs with this label"
            onClick=${() => onPick(key, value)}>${text}</button>`
        : html`<span key=${key} class="label">${text}</span>`;
    })}
  </span>`;

export const JobLink = ({ id, name, query }) =>
  html`<a href=${linkTo(["jobs", id], query)}><${Name} of=${name || id} /></a>`;
