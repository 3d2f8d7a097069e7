/** A typed client of the Troupe API. Paths, bodies and answers have the types of the API's own description. */

export { createTroupe, type Troupe, type TroupeOptions } from "./client.js";
export { idempotencyKey } from "./idempotency.js";
export { live, type LiveEvent, type LiveOptions } from "./live.js";
export { items } from "./pages.js";
export { TroupeProblem, type Problem } from "./problem.js";
export { signIn, type SigningWallet } from "./sign-in.js";
export type { components, paths, webhooks } from "./schema.js";
export { verifyWebhook, WebhookRefused, type WebhookEvent } from "./webhook.js";
