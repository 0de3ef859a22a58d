// Numbers, times and states as people read them. Units are those of the command line.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes: `1.4 GiB`. */
export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** Seconds: `820 ms`, `4.2 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`. */
export function seconds(value) {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export const count = (value) => value.toLocaleString("en");

/** Milliseconds since 1970 of a time of the API, which is in nanoseconds or a text; null where there is none. */
export function instant(time) {
  if (!time) return null;
  return typeof time === "number" ? time / 1e6 : Date.parse(time);
}

/** How long ago: `12 s ago`. */
export function ago(time, now = Date.now()) {
  const at = instant(time);
  return at === null ? "" : `${seconds(Math.max(0, (now - at) / 1000))} ago`;
}

/** A moment in the time of the reader: `2026-11-30 11:20:05`. */
export function moment(time) {
  const at = instant(time);
  if (at === null) return "";
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60000);
  return local.toISOString().slice(0, 19).replace("T", " ");
}
