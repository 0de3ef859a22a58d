import { html } from "../vendor/preact.js";
import { Empty } from "../parts/basics.js";

export const Submit = () => html`<h1>Submit</h1><${Empty}>To be made.<//>`;
