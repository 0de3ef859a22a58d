// A field of a form whose text stands for a value: what is typed stays as it is typed, and the value follows.

import { html, useState } from "../vendor/preact.js";

let fields = 0;
const newId = () => `field-${(fields += 1)}`;

/**
 * `show` makes the text of a value, `read` the value of a text or undefined where it is none, which `format` then tells.
 * `problem` is what the API says of the value.
 */
export function Field({ label, value, show = (each) => each ?? "", read = (each) => each, format = "", problem, hint = "", lines = 0, onChange, ...more }) {
  const [typed, setTyped] = useState(null);
  const [id] = useState(newId);
  const text = typed ?? String(show(value));
  const isRead = read(text) !== undefined;
  const told = isRead ? problem : `This is not ${format}.`;
  const type = (event) => {
    setTyped(event.target.value);
    const found = read(event.target.value);
    if (found !== undefined) onChange(found);
  };
  const common = {
    id, value: text, onInput: type, onBlur: () => isRead && setTyped(null), spellcheck: false, autocomplete: "off",
    "aria-invalid": told ? "true" : undefined, "aria-describedby": `${id}-about`, ...more,
  };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${lines ? html`<textarea rows=${lines} ...${common}></textarea>` : html`<input ...${common} />`}
    <p id=${`${id}-about`} class=${told ? "wrong" : "soft"}>${told || hint}</p>
  </div>`;
}

/** One of several: `of` is `[[value, label], ...]`. */
export function Choice({ label, value, of, problem, hint = "", onChange }) {
  const [id] = useState(newId);
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${(event) => onChange(event.target.value)} aria-describedby=${`${id}-about`}>
      ${of.map(([each, text]) => html`<option key=${each} value=${each}>${text}</option>`)}
    </select>
    <p id=${`${id}-about`} class=${problem ? "wrong" : "soft"}>${problem || hint}</p>
  </div>`;
}
