import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Access = () => html`<h1>Access</h1><${Empty}>To be made.<//>`;
