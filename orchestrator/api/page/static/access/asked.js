// A change that is asked about before it is made, with the command that does the same.

import { html, useState } from "../vendor/preact.js";
import { Confirm, Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";

/** A button; `act` makes the change once one has said yes, and `onDone` gets what it gives. */
export function Asked({ label, title, action, danger, text, act, onDone, children }) {
  const [isAsked, setAsked] = useState(false);
  const [error, setError] = useState(null);
  const yes = async () => {
    try {
      const found = await act();
      setAsked(false);
      onDone?.(found);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<button type="button" onClick=${() => { setError(null); setAsked(true); }}>${label}</button>
    ${isAsked && html`<${Confirm} title=${title} action=${action} danger=${danger} onYes=${yes} onCancel=${() => setAsked(false)}>
      ${children}
      ${text && html`<${Command} text=${text} />`}
      <${Problem} error=${error} />
    <//>`}`;
}
