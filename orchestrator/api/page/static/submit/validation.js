// What the API says of a job while it is written.

import { useEffect, useState } from "../vendor/preact.js";
import { put } from "../lib/api.js";

const REST_MILLISECONDS = 350;

/**
 * `{key, problems, warnings, error}` of the last job that was asked about; `key` is that job as JSON. One asks when
 * nobody has typed for a moment, and an answer for what has changed since is dropped.
 */
export function useValidation(key, isAllowed) {
  const [found, setFound] = useState({ key: null, problems: [], warnings: [], error: null });
  useEffect(() => {
    if (key === null || !isAllowed) return undefined;
    let isOver = false;
    const timer = setTimeout(async () => {
      try {
        const answer = await put("/orchestrator/jobs/validate", { Job: JSON.parse(key) });
        if (!isOver) setFound({ key, problems: answer.Problems ?? [], warnings: answer.Warnings ?? [], error: null });
      } catch (error) {
        if (!isOver) setFound({ key, problems: [], warnings: [], error });
      }
    }, REST_MILLISECONDS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [key, isAllowed]);
  return found;
}
