// What views share: where one is, and what is asked for again and again.

import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { get } from "./api.js";

/** The place that the address names behind its `#`: `{parts: ["jobs", "j-1"], query: {tab: "log"}}`. */
export function placeOf(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return {
    parts: path.split("/").filter(Boolean).map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The `#` address of a place. */
export function linkTo(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const text = new URLSearchParams(kept).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function usePlace() {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const move = () => setPlace(placeOf(location.hash));
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  return place;
}

/**
 * What `path` answers, asked for anew every `seconds` while the page can be seen: `{data, error, again}`.
 * The last answer stays while one cannot be had; `error` says why. `path` null asks for nothing.
 */
export function usePoll(path, query = {}, seconds = 2) {
  const key = path === null ? null : JSON.stringify([path, query]);
  const [found, setFound] = useState({ key: null, data: null, error: null });
  const timer = useRef(0);
  const asking = useRef(null);
  const look = useCallback(async () => {
    clearTimeout(timer.current);
    asking.current?.abort();
    if (key === null) return;
    const mine = new AbortController();
    asking.current = mine;
    try {
      if (!document.hidden) {
        const data = await get(path, query, mine.signal);
        if (asking.current === mine) setFound({ key, data, error: null });
      }
    } catch (error) {
      if (error.name === "AbortError" || asking.current !== mine) return;
      setFound((last) => ({ key, data: last.key === key ? last.data : null, error }));
    }
    if (asking.current === mine && seconds) timer.current = setTimeout(look, seconds * 1000);
  }, [key, seconds]);
  useEffect(() => {
    look();
    const seen = () => document.hidden || look();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      clearTimeout(timer.current);
      asking.current?.abort();
      asking.current = null;
    };
  }, [look]);
  return found.key === key ? { ...found, again: look } : { data: null, error: null, again: look };
}
