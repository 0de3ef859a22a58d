// The job that is being written: its text, and the job that the text is. Kept while the browser's tab is open.

import { dump, load, YAMLException } from "../vendor/js-yaml.js";

const PLACE = "draft";
const START = {
  Type: "batch",
  Count: 1,
  Tasks: [{ Name: "main", Engine: { Type: "docker", Params: { Image: "busybox:1.37.0", Parameters: ["echo", "hello"] } }, Publisher: { Type: "s3managed" } }],
};

/** A name of this one submit, which makes of a repeated one the same job. */
export const newToken = () => [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");

export const textOf = (job, format) => (format === "json" ? `${JSON.stringify(job, null, 2)}\n` : dump(job, { lineWidth: 120, noRefs: true }));

/** `{job}`, or `{problem: {message, line}}` where the text is no job. */
export function read(text) {
  let found;
  try {
    found = load(text);
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const isMany = /single document|multiple documents/i.test(error.message);
    const message = isMany ? "These are several jobs, which `tarpon job run FILE` submits together." : `This cannot be read: ${error.reason ?? error.message}.`;
    return { problem: { message, line: error.mark?.line ?? 0 } };
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) return { problem: { message: "A job has keys, such as Tasks.", line: 0 } };
  const [key] = Object.keys(found);
  if (key?.toLowerCase() === "job" && Object.keys(found).length === 1) return { job: found[key] };
  if (Array.isArray(found.Jobs)) return { problem: { message: "These are several jobs, which `tarpon job run FILE` submits together.", line: 0 } };
  return { job: found };
}

/** What this user was writing, or what one begins with. */
export function keptDraft(user) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(PLACE));
    if (kept?.user === user && typeof kept.text === "string") return kept;
  } catch {
    // It was not written by this page; one begins anew.
  }
  return newDraft(user);
}

export const newDraft = (user, format = "yaml") => ({ user, format, text: textOf(START, format), token: newToken() });

export const keepDraft = (draft) => sessionStorage.setItem(PLACE, JSON.stringify(draft));
export const forgetDraft = () => sessionStorage.removeItem(PLACE);
