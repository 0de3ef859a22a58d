import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Cluster = () => html`<h1>Cluster</h1><${Empty}>To be made.<//>`;
