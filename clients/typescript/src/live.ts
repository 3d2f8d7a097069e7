import type { Troupe } from "./client.js";
import { problemOf } from "./problem.js";

/** One event of GET /v1/live; docs/interface.md says what each type holds. */
export interface LiveEvent {
  type: string;
  data: Record<string, unknown>;
  /** The place to go on from. */
  id: string | undefined;
}

export interface LiveOptions {
  /** `chain`, `work:<id>`, `payouts:<address>`, `proposals`, `proposal:<id>`, `me`. */
  topics: string[];
  /** Goes on after this event, of an earlier stream. */
  lastEventId?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
}

/**
 * What happens, as it happens. A connection that breaks or ends is opened again from the last event on, so nothing is
 * missed; after `undo` forget what was told of its first block and above, after `reset` read anew. Throws a
 * TroupeProblem that trying again would not mend; ends when `signal` is aborted.
 */
export async function* live(troupe: Troupe, options: LiveOptions): AsyncGenerator<LiveEvent, void, undefined> {
  let last = options.lastEventId;
  let wait = 2_000;
  for (let failures = 0; !options.signal?.aborted; ) {
    try {
      for await (const fields of connection(troupe, options, last)) {
        failures = 0;
        wait = fields.retry ?? wait;
        if (fields.data !== undefined) {
          const data = JSON.parse(fields.data) as Record<string, unknown>;
          yield { type: fields.event ?? "message", data, id: fields.id };
        }
        last = fields.id ?? last; // after the event was used: who stops within it goes on before it
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      const status = (error as { status?: number }).status;
      if (status !== undefined && status < 500 && status !== 429) throw error;
      failures += 1;
      wait = Math.max(wait, 1_000 * ((error as { retryAfter?: number }).retryAfter ?? 0));
    }
    await pause(Math.min(wait * 2 ** Math.min(failures, 5), 60_000), options.signal);
  }
}

async function* connection(
  troupe: Troupe,
  options: LiveOptions,
  last: string | undefined,
): AsyncGenerator<Fields> {
  const query = new URLSearchParams(options.topics.map((topic) => ["topic", topic]));
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (last !== undefined) headers["Last-Event-ID"] = last;
  if (troupe.token !== undefined) headers["Authorization"] = `Bearer ${troupe.token}`;
  const response = await troupe.fetch(`${troupe.baseUrl}/v1/live?${query}`, { headers, signal: options.signal ?? null });
  if (!response.ok || response.body === null) throw await problemOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r\n\r\n|\n\n|\r\r/);
      text = blocks.pop() ?? "";
      yield* blocks.map(parse);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

interface Fields {
  event?: string;
  data?: string;
  id?: string;
  retry?: number;
}

/** The fields of one event (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
function parse(block: string): Fields {
  const found: Fields = {};
  for (const line of block.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(":");
    if (colon === 0) continue; // a comment keeps the connection open
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") found.data = found.data === undefined ? value : `${found.data}\n${value}`;
    else if (name === "event") found.event = value;
    else if (name === "id") found.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) found.retry = Number(value);
  }
  return found;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}
