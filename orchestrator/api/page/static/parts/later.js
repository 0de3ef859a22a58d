// Parts of the page that are asked for when somebody looks at them, so that the first view is there soon.

import { html, useEffect, useState } from "../vendor/preact.js";
import { Loading, Problem } from "./basics.js";

const NOT_LOADED = {
  message: "This part of the page could not be loaded.",
  hint: "Reload the page; it may be of an earlier version than the orchestrator.",
  code: "NotLoaded",
};

/** A component that is `name` of the module that `load` imports. Its own `load` asks for that beforehand. */
export function later(load, name) {
  let known = null;
  const Later = (props) => {
    const [, draw] = useState(false);
    const [error, setError] = useState(null);
    useEffect(() => { Later.load().then(() => draw(true), () => setError(NOT_LOADED)); }, []);
    if (error) return html`<${Problem} error=${error} />`;
    return known ? html`<${known} ...${props} />` : html`<${Loading} />`;
  };
  Later.load = async () => {
    known ??= (await load())[name];
  };
  return Later;
}
