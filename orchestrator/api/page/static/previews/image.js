// A picture. It is shown as an image and nothing else, of its own type, so that no script in it runs and nothing is fetched for it.

import { html, useEffect, useState } from "../vendor/preact.js";
import { visible } from "../lib/text.js";
import { tooLarge } from "../results/problems.js";
import { Loaded, useLoaded } from "./loaded.js";

const MOST_BYTES = 32 << 20;

export function ImagePreview({ file, type }) {
  const [isBroken, setBroken] = useState(false);
  const loaded = useLoaded(async (signal) => {
    if (file.size > MOST_BYTES) throw tooLarge("A picture of this size");
    return URL.createObjectURL(new Blob([await file.read(0, file.size, signal)], { type }));
  }, [file]);
  useEffect(() => () => loaded.value && URL.revokeObjectURL(loaded.value), [loaded.value]);
  return html`<${Loaded} of=${loaded}>${(url) => html`<div class="picture">
    ${isBroken ? html`<p>This browser cannot show it.</p>` : html`<img src=${url} alt=${visible(file.name)} onError=${() => setBroken(true)} />`}
  </div>`}<//>`;
}
