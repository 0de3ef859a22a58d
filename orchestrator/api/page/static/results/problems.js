// Why a result, or a file of it, cannot be read here: a code, a sentence and a hint, as the API's own errors have.

export class ResultProblem extends Error {
  constructor(code, message, hint = "") {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

export const damaged = (what) =>
  new ResultProblem("ArchiveDamaged", `The result is damaged: ${what}.`, "`tarpon job get` checks all of it. Run the job again.");

export const tooLarge = (what) =>
  new ResultProblem("TooLargeForPage", `${what} is too much for a page.`, "The command line reads it in any size.");

/** The browser may not show this page what the bucket answers: its CORS rule does not name this page's origin. */
export const CORS_RULE_MISSING = "CorsRuleMissing";
