// A job as YAML or JSON: all of it, with what is wrong at its line.

import { html, useRef, useState } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { visible } from "../lib/text.js";

const MOST_BYTES = 1 << 20;

/** `problems` are `[{message, hint, line}]`, where a line begins with 0 and may be missing. */
export function JobEditor({ text, format, problems, onText, onFormat, onNew }) {
  const area = useRef(null);
  const [told, setTold] = useState("");
  const take = async (file) => {
    if (!file) return;
    if (file.size > MOST_BYTES) {
      setTold(`${visible(file.name)} has ${count(file.size)} bytes, which is more than a job file has.`);
      return;
    }
    onText(await file.text());
    setTold(`This is ${visible(file.name)}.`);
  };
  const go = (line) => {
    const lines = text.split("\n");
    const start = lines.slice(0, line).join("\n").length + (line ? 1 : 0);
    area.current.focus();
    area.current.setSelectionRange(start, start + (lines[line] ?? "").length);
    area.current.scrollTop = (area.current.scrollHeight / lines.length) * Math.max(0, line - 3);
  };
  return html`<section class="job-editor" aria-label="Job file" onDragOver=${(event) => event.preventDefault()}
    onDrop=${(event) => { if (event.dataTransfer.files.length) { event.preventDefault(); take(event.dataTransfer.files[0]); } }}>
    <div class="row">
      <label>Format<br /><select value=${format} onChange=${(event) => onFormat(event.target.value)}><option value="yaml">YAML</option><option value="json">JSON</option></select></label>
      <label>File<br /><input type="file" accept=".yaml,.yml,.json,text/*" onChange=${(event) => { take(event.target.files[0]); event.target.value = ""; }} /></label>
      <button type="button" onClick=${onNew}>Begin anew</button>
    </div>
    <label for="job-text">The whole job; a file can be dropped here</label>
    <textarea id="job-text" class="mono" rows="18" value=${text} spellcheck=${false} autocomplete="off" wrap="off" ref=${area}
      aria-invalid=${problems.length ? "true" : undefined} aria-describedby="job-problems" onInput=${(event) => onText(event.target.value)}></textarea>
    <p role="status" class="soft">${told}</p>
    <ul id="job-problems" class="problems" aria-live="polite">
      ${problems.map((each) => html`<li key=${each.message}>
        ${each.line !== undefined && html`<button type="button" onClick=${() => go(each.line)}>Line ${each.line + 1}</button> `}
        <span>${visible(each.message)} ${visible(each.hint)}</span>
      </li>`)}
    </ul>
  </section>`;
}
