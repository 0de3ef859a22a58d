// One log: live, with search, of which only the lines in sight are in the page.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { found, LogLines, MOST_BYTES } from "./log_lines.js";
import { followLog } from "./log_stream.js";
import { command, visible } from "../lib/text.js";
import { Copy } from "../parts/command.js";

/** The height of a line, which the style sheet sets too. */
const LINE = 20;
const BEYOND = 20;
const NEAR = 30;

export function LogView({ job, execution, to }) {
  const { log, state, drawn, again } = useLog(job.ID, execution.ID);
  const [words, setWords] = useState("");
  const [current, setCurrent] = useState(-1);
  const [follow, setFollow] = useState(true);
  const [streams, setStreams] = useState("both");
  const lines = useMemo(() => (streams === "both" ? log.lines : log.lines.filter(({ type }) => type === (streams === "stdout" ? 1 : 2))),
    [drawn, streams]);
  const places = useMemo(() => found(lines, words.trim()), [lines, words, drawn]);
  const step = (by) => {
    if (!places.length) return;
    setFollow(false);
    setCurrent((current + by + places.length) % places.length);
  };
  const search = (event) => { setWords(event.target.value); setCurrent(-1); };
  return html`
    <div class="row log-tools">
      <search class="row"><div><label for="log-words">Find in the log</label>
        <input id="log-words" type="search" value=${words} onInput=${search}
          onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); } }} /></div>
        <button type="button" disabled=${!places.length} onClick=${() => step(-1)}>Previous</button>
        <button type="button" disabled=${!places.length} onClick=${() => step(1)}>Next</button>
        <span role="status">${words && (places.length ? `${current < 0 ? "" : `${count(current + 1)} of `}${count(places.length)} ${places.length === 1 ? "line" : "lines"}` : "not found")}</span>
      </search>
      <div><label for="log-streams">Show</label><select id="log-streams" value=${streams} onChange=${(event) => { setStreams(event.target.value); setCurrent(-1); }}>
        <option value="both">stdout and stderr</option><option>stdout</option><option>stderr</option></select></div>
      <label class="check"><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.target.checked)} /> Follow</label>
      <${Copy} text=${command("tarpon", "job", "logs", "--execution-id", execution.ID, job.ID)} label="Copy the command" />
    </div>
    <${Standing} state=${state} log=${log} to=${to} execution=${execution} again=${again} />
    <${Lines} lines=${lines} drawn=${drawn} follow=${follow} onFollow=${setFollow} words=${words.trim()} at=${places[current] ?? null} />
  `;
}

/** The lines grow without being copied; `drawn` is another number whenever there are more. */
function useLog(job, execution) {
  const [turn, setTurn] = useState(0);
  const log = useMemo(() => new LogLines(), [job, execution, turn]);
  const [state, setState] = useState({ state: "connecting" });
  const [drawn, draw] = useState(0);
  useEffect(() => {
    let asked = 0;
    const soon = () => { asked ||= setTimeout(() => { asked = 0; draw((number) => number + 1); }, 60); };
    const stop = followLog({ job, execution, onState: setState, onText: (type, text) => { log.add(type, text); soon(); } });
    return () => { stop(); clearTimeout(asked); };
  }, [log]);
  return { log, state, drawn, again: () => setTurn(turn + 1) };
}

function Standing({ state, log, execution, to, again }) {
  const told = {
    connecting: "Connecting …",
    live: "Live.",
    away: "The connection is lost; it goes on where it was.",
    error: visible(state.message),
    end: state.whole ? "The task has ended: this is all." : "The task has ended.",
  }[state.state];
  const has = execution.PublishedResult?.Params;
  return html`<p class="soft" role="status">${told}
    ${state.state === "error" && html` <button type="button" class="small" onClick=${again}>Try again</button>`}
    ${state.state === "end" && !state.whole && (has
      ? html` What is missing here is in <a href=${to("results", { execution: execution.ID, path: "stdout" })}>its result</a>, in stdout and stderr.`
      : " Only the beginning of what it wrote was kept.")}
    ${log.dropped > 0 && ` The first ${count(log.dropped)} lines are not kept here, which has the last ${bytes(MOST_BYTES)}; tarpon job logs has them.`}</p>`;
}

function Lines({ lines, drawn, follow, onFollow, words, at }) {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(() => setHeight(box.current.clientHeight));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => { if (follow) box.current.scrollTop = box.current.scrollHeight; }, [follow, drawn, lines.length, height]);
  useLayoutEffect(() => { if (at !== null) box.current.scrollTop = Math.max(0, at * LINE - height / 2); }, [at]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    setTop(scrollTop);
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (atEnd !== follow && (atEnd || scrollTop < top)) onFollow(atEnd);
  };
  const first = Math.max(0, Math.floor(top / LINE) - BEYOND);
  const shown = lines.slice(first, Math.ceil((top + height) / LINE) + BEYOND);
  return html`<div class="log" ref=${box} onScroll=${scrolled} tabindex="0" role="log" aria-live="off" aria-label="Log">
    <div class="log-room" style=${{ height: `${lines.length * LINE}px` }}>
      <div class="log-lines" style=${{ transform: `translateY(${first * LINE}px)` }}>
        ${shown.map((line, number) => html`<${Line} key=${first + number} line=${line} words=${words} current=${first + number === at} />`)}
      </div>
    </div>
  </div>`;
}

function Line({ line, words, current }) {
  return html`<div class=${`log-line${line.type === 2 ? " err" : ""}${current ? " current" : ""}`}>
    ${line.type === 2 && html`<span class="from" title="stderr" aria-label="stderr">E</span>`}<${Marked} text=${line.text} words=${words} /></div>`;
}

/** The words that are looked for stand out. */
function Marked({ text, words }) {
  if (!words) return text;
  const [low, wanted] = [text.toLowerCase(), words.toLowerCase()];
  const pieces = [];
  let from = 0;
  for (let to = low.indexOf(wanted); to >= 0 && pieces.length < 200; to = low.indexOf(wanted, from)) {
    pieces.push(text.slice(from, to), html`<mark>${text.slice(to, to + words.length)}</mark>`);
    from = to + words.length;
  }
  return [...pieces, text.slice(from)];
}
