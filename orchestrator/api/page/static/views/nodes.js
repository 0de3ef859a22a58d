import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Nodes = () => html`<h1>Nodes</h1><${Empty}>To be made.<//>`;
