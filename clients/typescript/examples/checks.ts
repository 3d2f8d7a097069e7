// What the helpers do when things go wrong; run by the tests with the API's address, a key, and a delivery that came.
import { createTroupe, idempotencyKey, items, signIn, TroupeProblem, verifyWebhook, WebhookRefused } from "@troupe/client";
import { privateKeyToAccount } from "viem/accounts";

const [baseUrl = "", key = "", secret = "", headers = "{}", body = "", now = ""] = process.argv.slice(2);
const troupe = createTroupe({ baseUrl });

async function refusal(attempt: () => Promise<unknown>): Promise<string> {
  try {
    await attempt();
    return "nothing was refused";
  } catch (error) {
    if (error instanceof TroupeProblem) return `${error.status} ${error.code}`;
    if (error instanceof WebhookRefused) return error.message;
    throw error;
  }
}

const said: Record<string, unknown> = {
  nobody: await refusal(() => troupe.GET("/v1/me")),
  missing: await refusal(() => troupe.GET("/v1/works/{work_id}", { params: { path: { work_id: 999 } } })),
  cursor: await refusal(async () => {
    for await (const work of items(() => troupe.GET("/v1/works", { params: { query: { cursor: "x" } } }))) void work;
  }),
};
await signIn(troupe, privateKeyToAccount(key as `0x${string}`));
said["me"] = (await troupe.GET("/v1/me")).data?.address;

const again = idempotencyKey();
const title = "Remix";
const first = await troupe.POST("/v1/webhooks", { body: { url: "https://receiver.example/", types: ["payment.received"] } });
const once = await troupe.POST("/v1/licences/intent", { body: { title }, headers: again });
const twice = await troupe.POST("/v1/licences/intent", { body: { title }, headers: again });
said["webhook"] = first.data?.secret.startsWith("whsec_");
said["replayed"] = [once, twice].map(({ response }) => response.headers.get("idempotency-replayed"));
said["reused"] = await refusal(() => troupe.POST("/v1/licences/intent", { body: { title: "other" }, headers: again }));

const given = JSON.parse(headers) as Record<string, string>;
const moment = new Date(now);
const event = await verifyWebhook(secret, given, body, moment);
if (event.type === "payment.received") said["paid"] = event.data.amount;
said["changed"] = await refusal(() => verifyWebhook(secret, given, body.replace('"amount":"1', '"amount":"2'), moment));
said["late"] = await refusal(() => verifyWebhook(secret, given, body, new Date(moment.getTime() + 301_000)));
said["other"] = await refusal(() => verifyWebhook(`whsec_${btoa("x".repeat(32))}`, given, body, moment));
console.log(JSON.stringify(said));
