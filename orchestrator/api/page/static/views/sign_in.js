// Signing in: by a key, by a link that somebody has made, or by the identity provider where there is one.

import { html, useEffect, useState } from "../vendor/preact.js";
import { post } from "../lib/api.js";
import { Problem } from "../parts/basics.js";

export function SignIn({ link, onDone }) {
  const [error, setError] = useState(null);
  const [key, setKey] = useState("");
  const enter = async (shown) => {
    try {
      onDone(await post("/auth/session", shown));
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => { if (link) enter({ Link: link }); }, [link]);
  return html`<main class="sign-in" id="main">
    <h1>Tarpon</h1>
    <form onSubmit=${(event) => { event.preventDefault(); enter({ Key: key.trim() }); }}>
      <label for="key">Key</label>
      <input id="key" type="password" autocomplete="current-password" value=${key} required
        onInput=${(event) => setKey(event.target.value)} />
      <button class="primary">Sign in</button>
    </form>
    <${Problem} error=${error} />
    <p><code>tarpon job open</code> opens this page without asking for a key.</p>
  </main>`;
}
