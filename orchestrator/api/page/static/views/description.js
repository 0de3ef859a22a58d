import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Description = () => html`<h1>Description</h1><${Empty}>To be made.<//>`;
