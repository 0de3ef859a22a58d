// What concerns all namespaces at once: nodes, users, tokens. Who is limited to some may change nothing of it.

import { may } from "./may.js";

/** Whether a session has a capability, and for all namespaces. */
export function mayEverywhere(session, capability) {
  const namespaces = session.Namespaces ?? ["*"];
  return may(session, capability) && (!namespaces.length || namespaces.includes("*"));
}
