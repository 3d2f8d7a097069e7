import type { webhooks } from "./schema.js";

type Body<Name extends keyof webhooks> = webhooks[Name] extends {
  post: { requestBody: { content: { "application/json": infer Sent } } };
}
  ? Sent & { type: Name }
  : never;

/** What a delivery can hold, told apart by its `type`. */
export type WebhookEvent = { [Name in keyof webhooks]: Body<Name> }[keyof webhooks];

/** The delivery is not genuine, or too old: answer 401 and read nothing of it. */
export class WebhookRefused extends Error {
  override name = "WebhookRefused";
}

const TOLERANCE_S = 300;

/**
 * The event of a delivery, after its signature was verified (Standard Webhooks). `body` is the text as it came, before
 * any parsing. Deliveries come at least once: remember the header `webhook-id`. Throws WebhookRefused.
 */
export async function verifyWebhook(
  secret: string,
  headers: Headers | Record<string, string | string[] | undefined>,
  body: string,
  now: Date = new Date(),
): Promise<WebhookEvent> {
  const read = (name: string): string => {
    const value = headers instanceof Headers ? headers.get(name) : headers[name];
    if (typeof value !== "string") throw new WebhookRefused(`the header ${name} is missing`);
    return value;
  };
  const [id, at, signatures] = [read("webhook-id"), read("webhook-timestamp"), read("webhook-signature")];
  if (!(Math.abs(now.getTime() / 1000 - Number(at)) <= TOLERANCE_S)) throw new WebhookRefused("the delivery is too old");
  const bytes = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (c) => c.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const signed = new TextEncoder().encode(`${id}.${at}.${body}`);
  for (const signature of signatures.split(" ")) {
    const [version, value = ""] = signature.split(",");
    if (version !== "v1" || !/^[A-Za-z0-9+/]{43}=$/.test(value)) continue;
    const given = Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
    if (await crypto.subtle.verify("HMAC", key, given, signed)) return JSON.parse(body) as WebhookEvent;
  }
  throw new WebhookRefused("no signature fits");
}
