// The history of a job as it happens: each line once, also over connections that break off.

import { BASE } from "../lib/api.js";
import { pathOfJob } from "./jobs.js";

/** What is kept in the page; older lines go. */
export const MOST_LINES = 20_000;
const TOGETHER_MS = 250;
const AGAIN_MS = 3000;
const ENDED = new Set(["Completed", "Failed", "Stopped"]);

/**
 * Follow a job until it has ended. `onLines` is given all lines that are known, some at a time together; `onLive`
 * whether the connection is there, null at the end. A browser comes back by itself and tells the number of the last
 * line, but for after an answer that is no stream: then the stream begins anew, and lines that are known are left out.
 */
export function followHistory(job, onLines, onLive) {
  const lines = [];
  let source = null;
  let last = -1;
  let dropped = 0;
  let told = 0;
  let retry = 0;
  const tell = () => {
    told = 0;
    onLines([...lines], dropped);
  };
  const soon = () => { told ||= setTimeout(tell, TOGETHER_MS); };
  const take = (event) => {
    const line = JSON.parse(event.data);
    if (line.SeqNum <= last) return;
    last = line.SeqNum;
    lines.push(line);
    if (lines.length > MOST_LINES) dropped += lines.splice(0, MOST_LINES / 10).length;
    soon();
  };
  const connect = () => {
    source = new EventSource(BASE + pathOfJob(job, "/events"));
    source.onopen = () => { onLive(true); soon(); };
    source.onerror = () => {
      onLive(false);
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, AGAIN_MS);
    };
    source.addEventListener("history", take);
    source.addEventListener("job", (event) => {
      if (!ENDED.has(JSON.parse(event.data).State.StateType)) return;
      source.close();
      onLive(null);
      soon();
    });
  };
  connect();
  return () => {
    source.close();
    clearTimeout(told);
    clearTimeout(retry);
  };
}
