// What who looks may do, so that nothing is offered that the API would refuse. The API decides all the same.

/** Whether a session has a capability such as `write:job`. Who is let in without a key may do everything. */
export function may(session, capability) {
  const has = session.Capabilities;
  if (!has || !session.SignedIn) return true;
  const [verb] = capability.split(":");
  return has.includes("*") || has.includes(`${verb}:*`) || has.includes(capability);
}
