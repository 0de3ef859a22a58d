// What a task writes, over the websocket of its logs, which goes on where it was when the connection breaks off.

import { BASE } from "../lib/api.js";
import { pathOfJob } from "./jobs.js";

const LONGEST_PAUSE_MS = 5000;

/**
 * Follow one execution: `onText(type, text)` with 1 for stdout and 2 for stderr, `onState({state, message, whole})`
 * whenever that is another one: `connecting`, `live`, `away`, `error` or `end`. Returns what ends it.
 */
export function followLog({ job, execution, onText, onState }) {
  let place = null;
  let socket = null;
  let over = false;
  let failures = 0;
  let timer = 0;
  const end = (state) => {
    over = true;
    onState(state);
  };
  const take = (frame) => {
    if (frame.error) return end({ state: "error", message: frame.error });
    failures = 0;
    if (frame.value) onText(frame.value.Type, frame.value.Line);
    if (frame.place) place = frame.place;
    return frame.end && end({ state: "end", whole: frame.end.Whole });
  };
  const connect = () => {
    socket = new WebSocket(addressOf(job, execution, place));
    onState({ state: failures ? "away" : "connecting" });
    socket.onopen = () => onState({ state: "live" });
    socket.onmessage = (event) => over || take(JSON.parse(event.data));
    socket.onclose = () => {
      if (over) return;
      failures += 1;
      onState({ state: "away" });
      timer = setTimeout(connect, Math.min(LONGEST_PAUSE_MS, 200 * 2 ** failures));
    };
  };
  connect();
  return () => {
    over = true;
    clearTimeout(timer);
    socket.close();
  };
}

function addressOf(job, execution, place) {
  const address = new URL(BASE + pathOfJob(job, "/logs"), location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const asked = { follow: "true", execution_id: execution, tail: "-1" };
  if (place) Object.assign(asked, { stdout_from: place.Stdout ?? 0, stderr_from: place.Stderr ?? 0 });
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  return address.href;
}
