import { createTroupe, items, live, signIn } from "@troupe/client";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const [baseUrl = "", rpcUrl = "", key = ""] = process.argv.slice(2);
const wallet = createWalletClient({ account: privateKeyToAccount(key as `0x${string}`), transport: http(rpcUrl) });
const troupe = createTroupe({ baseUrl });
console.log("signed in as", (await signIn(troupe, wallet)).address);

for await (const work of items((page) => troupe.GET("/v1/works", { params: { query: { limit: 2, ...page } } }))) {
  console.log("work", work.work_id, work.title);
}
for await (const event of live(troupe, { topics: ["work:1"] })) {
  console.log("event", event.type, JSON.stringify(event.data));
  if (event.type === "payment") break;
}
