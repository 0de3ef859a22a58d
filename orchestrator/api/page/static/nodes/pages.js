// A whole list of the API, page by page, asked for again and again.

import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";

const MOST_PAGES = 21;
/** The first page is small, so that it is soon there; all others are as large as the API has them. */
const FIRST = 50;
const FURTHER = 1000;
const PER_SECOND = 50;

/**
 * `{data, error, again}` as of usePoll, where `data` has the `items` of all pages. A list of 1,000 is asked for every
 * 20 s and one of 100 every 2 s, so that what it costs the orchestrator does not grow with it. At first, what has come is
 * shown before the rest comes.
 */
export function usePages(path, query, items) {
  const key = JSON.stringify([path, query]);
  const [found, setFound] = useState({ key: "", data: null, error: null });
  const asking = useRef(null);
  const timer = useRef(0);
  const look = useCallback(async () => {
    clearTimeout(timer.current);
    asking.current?.abort();
    const mine = new AbortController();
    asking.current = mine;
    let wait = 2;
    try {
      if (!document.hidden) {
        const show = (data) => asking.current === mine && setFound((last) => (last.key === key && last.data ? last : { key, data, error: null }));
        const data = await allPages(path, query, items, mine.signal, show);
        wait = Math.max(wait, data.length / PER_SECOND);
        if (asking.current === mine) setFound({ key, data, error: null });
      }
    } catch (error) {
      if (error.name === "AbortError" || asking.current !== mine) return;
      setFound((last) => ({ key, data: last.key === key ? last.data : null, error }));
    }
    if (asking.current === mine) timer.current = setTimeout(look, wait * 1000);
  }, [key]);
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

async function allPages(path, query, items, signal, show) {
  const all = [];
  let token = "";
  for (let number = 0; number < MOST_PAGES; number += 1) {
    const page = await get(path, { ...query, limit: number ? FURTHER : FIRST, next_token: token }, signal);
    all.push(...page[items]);
    token = page.NextToken;
    if (!token) break;
    show([...all]);
  }
  return all;
}
