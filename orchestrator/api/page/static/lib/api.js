// The HTTP API of the orchestrator that serves this page. Nothing is asked for that any other client could not ask for.

export const BASE = "/api/v1";

/** What the API answered instead of what was asked for: its code, its sentence and its hint. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body.Message || `The orchestrator answered ${status}.`);
    this.status = status;
    this.code = body.Details?.TarponCode || body.Code || "Unknown";
    this.hint = body.Hint || "";
    this.details = body.Details || {};
  }
}

/** The orchestrator does not answer. */
export class Away extends Error {
  constructor() {
    super("The orchestrator does not answer.");
    this.code = "OrchestratorAway";
    this.hint = "This page asks again by itself.";
  }
}

let csrf = "";
let onSignedOut = () => {};

/** Who is signed in, as `GET /api/v1/auth/session` tells it; its token goes with every change. */
export function useSession(session) {
  csrf = session.CSRFToken || "";
}

/** `action` is called whenever the API asks for a sign-in. */
export function whenSignedOut(action) {
  onSignedOut = action;
}

/** A path below BASE with a query. Empty values are left out; a list repeats its name. */
export function pathOf(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const each of Array.isArray(value) ? value : [value])
      if (each !== undefined && each !== null && each !== "") parameters.append(name, each);
  const text = parameters.toString();
  return BASE + path + (text ? `?${text}` : "");
}

async function ask(method, path, { query, body, signal } = {}) {
  const headers = { Accept: "application/json", "X-Tarpon-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(pathOf(path, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away();
  }
  const text = await response.text();
  let found = {};
  try {
    found = text ? JSON.parse(text) : {};
  } catch {
    found = { Message: text.slice(0, 300) };
  }
  if (response.ok) return found;
  if (response.status === 401) onSignedOut();
  throw new ApiError(response.status, found);
}

export const get = (path, query, signal) => ask("GET", path, { query, signal });
export const put = (path, body = {}, query) => ask("PUT", path, { body, query });
export const post = (path, body = {}, query) => ask("POST", path, { body, query });
export const remove = (path, body, query) => ask("DELETE", path, { body, query });
