// Who may do what, who may join, and what belongs to namespaces.

import { html } from "../vendor/preact.js";
import { linkTo } from "../lib/hooks.js";
import { Tabs } from "../parts/basics.js";
import { Data, Namespaces, Secrets } from "../access/namespaces.js";
import { Schedules } from "../access/schedules.js";
import { Tokens } from "../access/tokens.js";
import { Users } from "../access/users.js";

const TABS = [
  ["users", "Users and keys", Users],
  ["tokens", "Join tokens", Tokens],
  ["namespaces", "Namespaces", Namespaces],
  ["secrets", "Secrets", Secrets],
  ["data", "Sent data", Data],
  ["schedules", "Schedules", Schedules],
];

export function Access({ place, session }) {
  const [name, , Shown] = TABS.find(([each]) => each === place.query.tab) ?? TABS[0];
  return html`<h1>Access</h1>
    <${Tabs} label="Access" of=${TABS} current=${name} to=${(tab) => linkTo(["access"], { tab })} />
    <${Shown} key=${name} session=${session} />`;
}
