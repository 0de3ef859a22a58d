// What is read for a preview, and what is shown meanwhile and instead.

import { html, useEffect, useState } from "../vendor/preact.js";
import { Loading, Problem } from "../parts/basics.js";

/** `{value, error}` of the promise that `load(signal)` makes, anew whenever one of `of` changes. */
export function useLoaded(load, of) {
  const [found, setFound] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    setFound({});
    load(stop.signal).then(
      (value) => stop.signal.aborted || setFound({ value }),
      (error) => stop.signal.aborted || setFound({ error: told(error) }),
    );
    return () => stop.abort();
  }, of);
  return found;
}

/** What a library or the browser throws has no code and no hint. */
function told(error) {
  return error.code && typeof error.code === "string" ? error : { message: `This cannot be read here: ${error.message}`, code: "FileNotRead", hint: "Download the file." };
}

export const Loaded = ({ of: { value, error }, children }) => (error ? html`<${Problem} error=${error} />` : value === undefined ? html`<${Loading} />` : children(value));
