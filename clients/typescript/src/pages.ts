/** A page of any list of the API. */
export interface Page<Item> {
  items: Item[];
  next?: string | null;
}

/**
 * All items of a list, page by page as they are needed:
 *
 *     for await (const work of items((page) => troupe.GET("/v1/works", { params: { query: { ...page } } })))
 *
 * Throws the TroupeProblem `cursor_void` when the chain was reorganised below the page: begin again then.
 */
export async function* items<Item>(
  get: (page: { cursor?: string }) => Promise<{ data?: Page<Item> | undefined }>,
): AsyncGenerator<Item, void, undefined> {
  let cursor: string | undefined;
  do {
    const { data } = await get(cursor === undefined ? {} : { cursor });
    if (data === undefined) return;
    yield* data.items;
    cursor = data.next ?? undefined;
  } while (cursor !== undefined);
}
