// The wallet's side of the pages: sign-in with Ethereum, and sending the intents that the API hands out.
// Bundled with viem into static/vendor/wallet.js by scripts/toolchain/bundle.js. No key and no amount is made here:
// the wallet signs what the person sees, and every transaction comes from the API as {to, data, value, chainId}.
import { createPublicClient, createWalletClient, custom, getAddress, numberToHex } from "viem";

const POLL_MS = 1500;
const SEEN_TIMEOUT_MS = 10 * 60 * 1000;

/** Wallets of this browser: those that announce themselves by EIP-6963, else the one at window.ethereum. */
const announced = new Map();
window.addEventListener("eip6963:announceProvider", (event) => {
  announced.set(event.detail.info.uuid, event.detail);
});
window.dispatchEvent(new Event("eip6963:requestProvider"));

class WalletError extends Error {}

function wallets() {
  if (announced.size) return [...announced.values()];
  if (window.ethereum) return [{ info: { name: "Browser wallet" }, provider: window.ethereum }];
  return [];
}

/** Let the person choose when there are several wallets; resolves with an EIP-1193 provider. */
async function chooseWallet() {
  const found = wallets();
  if (!found.length) {
    throw new WalletError("No wallet was found in this browser. Install one, or open this page in your wallet's own browser.");
  }
  if (found.length === 1) return found[0].provider;
  const dialog = document.getElementById("wallets");
  const list = dialog.querySelector("ul");
  list.replaceChildren();
  return new Promise((resolve, reject) => {
    for (const wallet of found) {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet wide";
      button.textContent = wallet.info.name;
      button.addEventListener("click", () => {
        resolve(wallet.provider);
        dialog.close();
      });
      item.append(button);
      list.append(item);
    }
    dialog.addEventListener("close", () => reject(new WalletError("No wallet was chosen; nothing was sent.")), { once: true });
    dialog.showModal();
  });
}

async function api(path, options = {}) {
  const response = await fetch(path, {
    credentials: "same-origin",
    headers: { Accept: "application/json", ...(options.body ? { "Content-Type": "application/json" } : {}) },
    ...options,
  });
  const body = response.status === 204 ? null : await response.json();
  if (!response.ok) throw new WalletError(body?.detail ?? `The server answered ${response.status}; nothing was sent.`);
  return body;
}

function explain(error) {
  if (error instanceof WalletError) return error.message;
  const code = error?.code ?? error?.cause?.code;
  if (code === 4001) return "You declined in the wallet. Nothing was sent.";
  return `${error?.shortMessage ?? error?.message ?? error} Nothing more was sent.`;
}

// --- sign-in ---------------------------------------------------------------------------------------------------------

async function signIn() {
  const provider = await chooseWallet();
  const [first] = await provider.request({ method: "eth_requestAccounts" });
  const address = getAddress(first);
  const { message } = await api("/v1/auth/nonce", { method: "POST", body: JSON.stringify({ address }) });
  const signature = await createWalletClient({ account: address, transport: custom(provider) }).signMessage({ message });
  await api("/v1/auth/verify", { method: "POST", body: JSON.stringify({ message, signature }) });
  window.location.reload();
}

async function signOut() {
  await api("/v1/auth/session", { method: "DELETE" });
  window.location.reload();
}

// --- sending ---------------------------------------------------------------------------------------------------------

async function onChain(provider, chainId) {
  const current = Number(await provider.request({ method: "eth_chainId" }));
  if (current === chainId) return;
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: numberToHex(chainId) }] });
  } catch {
    throw new WalletError(`Switch your wallet to chain ${chainId} and try again. Nothing was sent.`);
  }
}

/** A line of the list of steps, with the mark of its stage; marks are the page's own SVG templates. */
function stepLine(list, text) {
  const line = document.createElement("li");
  const mark = document.createElement("span");
  const label = document.createElement("span");
  const note = document.createElement("span");
  label.textContent = text;
  note.className = "muted";
  line.append(mark, label, note);
  list.append(line);
  return (stage, words) => {
    const template = document.getElementById(`mark-${stage}`);
    mark.replaceChildren(...(template ? [template.content.cloneNode(true)] : []));
    note.textContent = words;
    line.dataset.stage = stage;
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Show a mined transaction's stage until the network calls it final; calls `seen` once the mirror has its block. */
async function watch(client, hash, address, { show, seen }) {
  const until = Date.now() + SEEN_TIMEOUT_MS;
  for (let stage = "received"; stage !== "final" && Date.now() < until; await pause(POLL_MS)) {
    const summary = await api(`/v1/payouts/${address}/summary`).catch(() => null);
    if (!summary) continue; // what was sent stands, whoever does not answer: ask again
    const now = await client.getTransactionReceipt({ hash }).catch(() => null);
    if (!now) {
      show((stage = "received"), "the chain took its block back; waiting for it to return");
    } else if (BigInt(summary.final_block) >= now.blockNumber) {
      show((stage = "final"), "final");
    } else if (BigInt(summary.as_of.block) >= now.blockNumber) {
      show((stage = "seen"), "seen, not yet final");
    }
    if (stage === "received") continue;
    document.dispatchEvent(new CustomEvent("troupe-seen"));
    seen();
  }
  seen();
}

/** Follow a mined transaction until the mirror has its block; its line goes on to final by itself. */
const follow = (client, hash, address, show) => new Promise((seen) => watch(client, hash, address, { show, seen }));

/** Send the intents one after the other, each when the one before it is in a block. */
async function send(intents, address, list, chosen = null) {
  const provider = chosen ?? (await chooseWallet());
  const [first] = await provider.request({ method: "eth_requestAccounts" });
  const account = getAddress(first);
  const wallet = createWalletClient({ account, transport: custom(provider) });
  const client = createPublicClient({ transport: custom(provider) });
  const lines = intents.map((intent) => stepLine(list, intent.description));
  const followed = [];
  for (const [index, intent] of intents.entries()) {
    const show = lines[index];
    await onChain(provider, Number(intent.chainId));
    show("waiting", "confirm in your wallet");
    const hash = await wallet.sendTransaction({
      chain: null,
      to: intent.to,
      data: intent.data,
      value: BigInt(intent.value),
    });
    show("received", "sent");
    const receipt = await client.waitForTransactionReceipt({ hash, pollingInterval: POLL_MS });
    if (receipt.status !== "success") throw new WalletError("The chain refused this step. What was done before it stands.");
    show("received", "in a block");
    followed.push(follow(client, receipt.transactionHash, address, show));
  }
  await Promise.all(followed);
}

async function withdraw(button) {
  const { address } = button.dataset;
  const steps = document.getElementById("steps");
  steps.replaceChildren();
  const intents = [];
  for (let path = `/v1/payouts/${address}/claims?limit=100`; path; ) {
    const page = await api(path);
    intents.push(...page.intents);
    path = page.next ? `/v1/payouts/${address}/claims?limit=100&cursor=${encodeURIComponent(page.next)}` : null;
  }
  if (!intents.length) throw new WalletError("There is nothing to withdraw now.");
  await send(intents, address, steps);
}

/** Buy, rent or subscribe: the intent of `path` for whoever the wallet says, sent step by step. */
async function buy(button) {
  const { path, body } = button.dataset;
  const provider = await chooseWallet();
  const [first] = await provider.request({ method: "eth_requestAccounts" });
  const buyer = getAddress(first);
  const steps = document.getElementById("steps");
  steps.replaceChildren();
  const { intents } = await api(path, { method: "POST", body: JSON.stringify({ ...JSON.parse(body), buyer }) });
  await send(intents, buyer, steps, provider);
}

// --- the page's buttons ----------------------------------------------------------------------------------------------

const ACTIONS = { "sign-in": signIn, "sign-out": signOut, withdraw, buy };

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-wallet]");
  const action = button && ACTIONS[button.dataset.wallet];
  if (!action) return;
  const alert = document.getElementById("wallet-message");
  alert.hidden = true;
  button.disabled = true;
  try {
    await action(button);
  } catch (error) {
    alert.textContent = explain(error);
    alert.hidden = false;
  } finally {
    button.disabled = false;
  }
});
