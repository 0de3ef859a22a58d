// Signing in: by a key, by a link that somebody has made, or by the identity provider where there is one.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { post } from "../lib/api.js";
import { Problem } from "../parts/basics.js";

/** `session` is who is signed in until now, nobody as a rule, and tells of the provider. */
export function SignIn({ link, session, onDone }) {
  const [error, setError] = useState(null);
  const enter = async (shown) => {
    setError(null);
    try {
      onDone(await post("/auth/session", shown));
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => { if (link) enter({ Link: link }); }, [link]);
  return html`<main class="sign-in" id="main">
    <h1>Tarpon</h1>
    ${!isSecureContext && html`<p role="note"><strong>This page came by plain http:</strong> what you type here, and the session,
      can be read on the way. Use https, or a tunnel to the orchestrator's machine.</p>`}
    <${ByKey} onEnter=${enter} />
    ${session?.SignIn && html`<${ByProvider} name=${session.SignIn.Name} onDone=${onDone} onError=${setError} />`}
    <${Problem} error=${error} />
    <p><code>tarpon job open</code> opens this page without asking for a key.</p>
  </main>`;
}

function ByKey({ onEnter }) {
  const [user, setUser] = useState("");
  const [key, setKey] = useState("");
  const [asks, setAsks] = useState(false);
  const enter = (event) => {
    event.preventDefault();
    onEnter(asks && user.trim() ? { User: user.trim(), Key: key } : { Key: key.trim() });
  };
  return html`<form onSubmit=${enter}>
    <label for="user" hidden=${!asks}>User name</label>
    <input id="user" autocomplete="username" hidden=${!asks} value=${user} onInput=${(event) => setUser(event.target.value)} />
    <label for="key">${asks ? "Password" : "Key"}</label>
    <input id="key" type="password" autocomplete="current-password" value=${key} required
      onInput=${(event) => setKey(event.target.value)} />
    <div class="actions">
      <button class="primary">Sign in</button>
      <button type="button" onClick=${() => setAsks(!asks)}>${asks ? "Use a key" : "Use a password"}</button>
    </div>
  </form>`;
}

/** A person opens the provider's page and enters the code there; the orchestrator is asked until that is done. */
function ByProvider({ name, onDone, onError }) {
  const [begun, setBegun] = useState(null);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const fail = (failure) => { setBegun(null); onError(failure); };
  const wait = (shown) => {
    timer.current = setTimeout(async () => {
      try {
        const found = await post("/auth/session", { Handle: shown.Handle });
        if (found.Pending) wait(shown);
        else onDone(found);
      } catch (failure) {
        if (failure.status === 429 || failure.status === 503) wait(shown);
        else fail(failure);
      }
    }, shown.IntervalSeconds * 1000);
  };
  const begin = async () => {
    onError(null);
    try {
      const shown = await post("/auth/provider");
      setBegun(shown);
      wait(shown);
    } catch (failure) {
      fail(failure);
    }
  };
  if (!begun) return html`<p><button onClick=${begin}>Sign in at ${name}</button></p>`;
  return html`<div role="status">
    <p><a href=${begun.WholeURL || begun.URL} target="_blank" rel="noopener noreferrer">Open ${name}</a>${" "}
      and ${begun.WholeURL ? "compare" : "enter"} this code: <strong><code>${begun.UserCode}</code></strong></p>
    <p>This page goes on when you are signed in there.</p>
  </div>`;
}
