import type { Troupe } from "./client.js";

/** What is needed of a wallet: a viem WalletClient with its account, or a LocalAccount by itself, is one. */
export interface SigningWallet {
  account?: { address: `0x${string}` } | undefined;
  address?: `0x${string}`;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- viem's two kinds of wallets differ in what they take
  signMessage(request: any): Promise<`0x${string}`>;
}

/** Sign in with Ethereum (EIP-4361): the server writes the message, the wallet signs it. The client sends the token from then on. */
export async function signIn(troupe: Troupe, wallet: SigningWallet): Promise<{ address: string; token: string; expiresAt: Date }> {
  const account = wallet.account;
  const address = account?.address ?? wallet.address;
  if (address === undefined) throw new TypeError("the wallet has no account: give createWalletClient one");
  const begun = await troupe.POST("/v1/auth/nonce", { body: { address } });
  const message = begun.data?.message;
  if (!message) throw new Error("the server gave no message to sign");
  const signature = await wallet.signMessage(account === undefined ? { message } : { account, message });
  const { data } = await troupe.POST("/v1/auth/verify", { body: { message, signature } });
  if (data === undefined) throw new Error("the server opened no session");
  troupe.token = data.token;
  return { address: data.address, token: data.token, expiresAt: new Date(data.expires_at) };
}
