// The history of a job as it happens: each line once, also over connections that break off.

import { BASE } from "./api.js";
import { pathOfJob } from "./jobs.js";

/** What is kept in the page; older lines go, but for the first ones. */
export const MOST_LINES = 20_000;
const TOGETHER_MS = 250;
const ENDED = new Set(["Completed", "Failed", "Stopped"]);

/**
 * Follow a job until it has ended. `onLines` is given all lines that are known, some at a time together; `onLive`
 * whether the connection is there. A browser comes back by itself, and tells the number of the last line.
 */
export function followHistory(job, onLines, onLive) {
  const source = new EventSource(BASE + pathOfJob(job, "/events"));
  const lines = [];
  let last = -1;
  let dropped = 0;
  let timer = 0;
  const tell = () => {
    timer = 0;
    onLines([...lines], dropped);
  };
  const soon = () => { timer ||= setTimeout(tell, TOGETHER_MS); };
  source.addEventListener("open", () => { onLive(true); soon(); });
  source.addEventListener("error", () => onLive(false));
  source.addEventListener("history", (event) => {
    const line = JSON.parse(event.data);
    if (line.SeqNum <= last) return;
    last = line.SeqNum;
    lines.push(line);
    if (lines.length > MOST_LINES) dropped += lines.splice(0, MOST_LINES / 10).length;
    soon();
  });
  source.addEventListener("job", (event) => {
    if (!ENDED.has(JSON.parse(event.data).State.StateType)) return;
    source.close();
    onLive(null);
    soon();
  });
  return () => {
    source.close();
    clearTimeout(timer);
  };
}
