"""What was learned of the nodes' ranges, kept in `chain.endpoint` so that the next process need not learn it again."""

from __future__ import annotations

from indexer.store import Store


def known(store: Store) -> list[tuple[str, int, int]]:
    """Node, limit and range of every node that something was learned of: see `remember`."""
    with store.failures():
        rows = store.connection.execute("SELECT node, limit_blocks, range_blocks FROM chain.endpoint")
        return [(node, limit, blocks) for node, limit, blocks in rows]


def remember(store: Store, node: str, limit: int, blocks: int) -> None:
    """Keep how many blocks a node takes at once, 0 if it named no number, and how many it was asked for last."""
    with store.failures():
        store.connection.execute(
            "INSERT INTO chain.endpoint (node, limit_blocks, range_blocks) VALUES (%s, %s, %s)"
            " ON CONFLICT (node) DO UPDATE SET limit_blocks = excluded.limit_blocks,"
            " range_blocks = excluded.range_blocks",
            (node, limit, blocks),
        )
