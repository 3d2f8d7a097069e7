import createClient, { type Client } from "openapi-fetch";
import { throwProblems } from "./problem.js";
import type { paths } from "./schema.js";

export interface TroupeOptions {
  /** Where the API is served, without a path: `https://troupe.example`. */
  baseUrl: string;
  /** A session's token (`signIn`) or an API key; without it a browser sends its cookie. */
  token?: string;
  fetch?: typeof globalThis.fetch;
}

/** The client: `troupe.GET("/v1/works", {params: {query: {limit: 5}}})` and so on, typed by path. */
export interface Troupe extends Client<paths> {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  /** The token that is sent; set it after a sign-in, delete it after a sign-out. */
  token?: string;
}

/** Make a client. An answer of 400 or more is thrown as a TroupeProblem, so `data` is there otherwise. */
export function createTroupe(options: TroupeOptions): Troupe {
  const baseUrl = options.baseUrl.replace(/\/+$/, "");
  const fetch = options.fetch ?? ((...request: Parameters<typeof globalThis.fetch>) => globalThis.fetch(...request));
  const client = createClient<paths>({ baseUrl, fetch: (request) => fetch(request) });
  const troupe: Troupe = Object.assign(client, { baseUrl, fetch });
  if (options.token !== undefined) troupe.token = options.token;
  client.use(
    {
      onRequest({ request }) {
        if (troupe.token !== undefined) request.headers.set("Authorization", `Bearer ${troupe.token}`);
        return request;
      },
    },
    throwProblems,
  );
  return troupe;
}
