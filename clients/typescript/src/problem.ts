import type { Middleware } from "openapi-fetch";
import type { components } from "./schema.js";

/** What the API says when it refuses: RFC 9457, with a stable `code` (docs/errors.md). */
export type Problem = components["schemas"]["Problem"];

/** An answer of 400 or more, thrown. */
export class TroupeProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly problem: Problem;
  /** Seconds to wait before trying again, where the API said so. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
    this.name = "TroupeProblem";
    this.status = problem.status;
    this.code = problem.code;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The problem of an answer that is one; what came from a proxy or was cut off gets the code `http_NNN`. */
export async function problemOf(response: Response): Promise<TroupeProblem> {
  const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfter = Number.isFinite(wait) ? wait : undefined;
  const kind = response.headers.get("content-type") ?? "";
  const text = await response.text();
  if (kind.startsWith("application/problem+json")) {
    return new TroupeProblem(JSON.parse(text) as Problem, retryAfter);
  }
  const made: Problem = {
    type: "about:blank",
    title: response.statusText,
    status: response.status,
    detail: text.slice(0, 200),
    code: `http_${response.status}`,
    instance: response.url,
    request_id: response.headers.get("x-request-id") ?? "",
  };
  return new TroupeProblem(made, retryAfter);
}

/** Lets every refused request throw a TroupeProblem. */
export const throwProblems: Middleware = {
  async onResponse({ response }) {
    if (!response.ok && response.status !== 304) throw await problemOf(response);
    return undefined;
  },
};
