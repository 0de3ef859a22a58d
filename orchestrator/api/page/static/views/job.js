import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Job = () => html`<h1>Job</h1><${Empty}>To be made.<//>`;
