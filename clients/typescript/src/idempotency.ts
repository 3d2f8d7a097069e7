/**
 * The header that lets a request be sent again without being done again; the same key with another body is refused.
 *
 *     const headers = idempotencyKey();
 *     await troupe.POST("/v1/orders", { body, headers });   // and again with the same headers, after a broken connection
 */
export function idempotencyKey(key: string = crypto.randomUUID()): { "Idempotency-Key": string } {
  return { "Idempotency-Key": key };
}
