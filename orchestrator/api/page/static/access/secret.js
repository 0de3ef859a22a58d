// Something that is shown this once: it is in the document until one has it, and nowhere after that.

import { html, useEffect } from "../vendor/preact.js";
import { Copy } from "../parts/command.js";

/** `onGone` is called when it must be shown no more: by the button, and when the page is left. */
export function Secret({ title, text, children, onGone }) {
  useEffect(() => {
    addEventListener("pagehide", onGone);
    return () => removeEventListener("pagehide", onGone);
  }, [onGone]);
  return html`<section class="card secret" role="alert" aria-label=${title}>
    <strong>${title}</strong>
    <p>It is shown this once, and kept nowhere.</p>
    <pre tabindex="0" aria-label=${title}>${text}</pre>
    <div class="row"><${Copy} text=${text} /><button type="button" onClick=${onGone}>I have it</button></div>
    ${children}
  </section>`;
}
