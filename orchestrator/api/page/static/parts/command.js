// A command that does the same as the page, to be copied.

import { html, useState } from "../vendor/preact.js";

/** Copies `text`; says so for a moment. */
export function Copy({ text, label = "Copy" }) {
  const [told, setTold] = useState("");
  const copy = async () => {
    setTold((await copied(text)) ? "Copied" : "Select it, then copy by hand");
    setTimeout(() => setTold(""), 2000);
  };
  return html`<button type="button" class="copy" onClick=${copy}><span aria-live="polite">${told || label}</span></button>`;
}

export const Command = ({ text, label = "The same on a command line" }) =>
  html`<div class="command"><pre tabindex="0" aria-label=${label}>${text}</pre><${Copy} text=${text} /></div>`;

/** Browsers give the clipboard to pages of https:// and of this machine alone; others have the older way. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
