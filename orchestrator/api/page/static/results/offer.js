// One result as the orchestrator offers it: signed URLs of an archive and its index, which are read straight from S3.
// A URL is for GET alone, and expires: then another one is asked for. The object must stay the one that was published.

import { CORS_RULE_MISSING, ResultProblem } from "./problems.js";

const EARLY_MILLISECONDS = 30_000;
const ERROR_CHARACTERS = 4096;
const REFUSED = new Set([400, 401, 403]);

export class Offer {
  /** `params` are those of the API's results; `renew(refused)` gives them anew. */
  constructor(params, renew) {
    this.params = params;
    /** Bytes of S3's answers so far. */
    this.moved = 0;
    this.renewed = renew;
    this.hasAnswered = false;
    this.isClockWrong = false;
  }

  /** Then it is no archive, and its URL is that of a manifest. */
  get isPlain() {
    return this.params.Encoding === "plain";
  }

  get hasIndex() {
    return Boolean(this.params.IndexURL && this.params.IndexSize);
  }

  get isExpired() {
    return !this.isClockWrong && Date.parse(this.params.ExpiresAt ?? "") < Date.now() + EARLY_MILLISECONDS;
  }

  async renew(refused) {
    this.params = { ...this.params, ...(await this.renewed(refused)) };
    this.isClockWrong = this.isExpired; // a fresh URL has not expired: this machine's clock is ahead
  }

  /** A link to the archive that is good for a while yet. */
  async link() {
    if (this.isExpired) await this.renew(false);
    return this.params.PreSignedURL;
  }

  index(signal) {
    return this.#bytes(() => this.params.IndexURL, {}, this.params.IndexSize, 200, signal);
  }

  archive(signal) {
    return this.#bytes(() => this.params.PreSignedURL, this.#match(), this.params.Size, 200, signal);
  }

  /** The bytes of the archive from `from` up to `to`. */
  range(from, to, signal) {
    const headers = { ...this.#match(), Range: `bytes=${from}-${to - 1}` };
    return this.#bytes(() => this.params.PreSignedURL, headers, to - from, 206, signal);
  }

  #match() {
    const tag = (this.params.ETag ?? "").replaceAll('"', "");
    return tag ? { "If-Match": `"${tag}"` } : {};
  }

  async #bytes(url, headers, length, status, signal) {
    const response = await this.#response(url, headers, signal);
    if (response.status !== status) {
      await response.body.cancel();
      throw new ResultProblem("RangesIgnored", "The bucket gives the whole archive where a part of it is asked for.");
    }
    const found = new Uint8Array(length);
    let filled = 0;
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read().catch((error) => { throw broken(error); });
      if (done) break;
      this.moved += value.length;
      if (filled + value.length > length) {
        await reader.cancel();
        throw replaced();
      }
      found.set(value, filled);
      filled += value.length;
    }
    if (filled < length) throw replaced();
    return found;
  }

  async #response(url, headers, signal) {
    if (this.isExpired) await this.renew(false);
    for (let isFresh = false; ; isFresh = true) {
      let response;
      try {
        response = await ask(url(), headers, signal);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        if (!isFresh && this.hasAnswered) await this.renew(true); // a refusal may come without the rule's headers
        else throw await whyUnread(url());
        continue;
      }
      this.hasAnswered = true;
      if (response.ok) return response;
      const code = /<Code>(\w+)<\/Code>/.exec((await response.text()).slice(0, ERROR_CHARACTERS))?.[1] ?? "";
      if (isFresh || !REFUSED.has(response.status)) throw refusal(response.status, code);
      await this.renew(true);
    }
  }
}

/** S3 leads nowhere else, and a browser insists on following what the page does not get to see. */
const ask = (url, headers, signal, mode = "cors") =>
  fetch(url, { headers, signal, mode, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", redirect: mode === "cors" ? "error" : "follow" });

/** A browser does not tell a page why: so it is asked for an answer that the page does not get to see. */
async function whyUnread(url) {
  if (location.protocol === "https:" && url.startsWith("http:"))
    return new ResultProblem(
      "BucketPlainText",
      "A browser lets no page of https:// read a bucket over http://.",
      "Set Publishers.Types.S3Managed.PublicEndpoint to an https:// address of the bucket.",
    );
  const stop = new AbortController();
  try {
    await ask(url, {}, stop.signal, "no-cors");
  } catch {
    return new ResultProblem("BucketAway", `This browser does not reach the bucket at ${new URL(url).host}.`, "Look at the network between here and there.");
  } finally {
    stop.abort();
  }
  return new ResultProblem(CORS_RULE_MISSING, "The bucket does not let this page read from it.");
}

function refusal(status, code) {
  if (status === 404) return new ResultProblem("DownloadFailed", "The result is no longer in the bucket.", "Somebody, or a life-cycle rule of the bucket, has removed it. Run the job again.");
  if (status === 412) return replaced();
  return new ResultProblem("DownloadFailed", `The bucket answers ${status}${code ? ` (${code})` : ""}.`, "`tarpon admin check` tells the operator more.");
}

const replaced = () =>
  new ResultProblem("ArchiveDamaged", "The result was replaced in the bucket after it had been published.", "Run the job again, and find out who else writes there.");

const broken = (error) =>
  error.name === "AbortError" ? error : new ResultProblem("DownloadFailed", "The connection to the bucket broke.", "Try again.");
