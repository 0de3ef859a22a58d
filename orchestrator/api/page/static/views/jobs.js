import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Jobs = () => html`<h1>Jobs</h1><${Empty}>To be made.<//>`;
