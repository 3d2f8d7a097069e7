"""What any indexer in Python must do at least: eth_getLogs, its JSON parsed, each Transfer's three words decoded.

    python -m bench._floor URL ADDRESS FIRST LAST BLOCKS_PER_RANGE

Checks nothing, keeps nothing, and runs with the garbage collector off: the leanest form, so that a slow decoder of ours
cannot flatter the ratio. Shares no code with the indexer. Prints two figures: seconds for the answers alone, and with
JSON and decoding.
"""

from __future__ import annotations

import gc
import http.client
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson


def answers(url: str, address: str, first: int, last: int, step: int) -> Iterator[bytes]:
    """The node's answers for the logs of `address`, a range at a time, on one connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
    for start in range(first, last + 1, step):
        wanted = {"fromBlock": hex(start), "toBlock": hex(min(last, start + step - 1)), "address": address}
        call = {"jsonrpc": "2.0", "id": start, "method": "eth_getLogs", "params": [wanted]}
        connection.request("POST", "/", orjson.dumps(call), {"content-type": "application/json"})
        yield connection.getresponse().read()
    connection.close()


def decoded(answer: bytes) -> list[tuple[int, int, bytes, bytes, bytes, int]]:
    """Block, index, transaction, from, to and token of each log."""
    rows = []
    for log in orjson.loads(answer)["result"]:
        _, sender, receiver, token = log["topics"]
        rows.append(
            (
                int(log["blockNumber"], 16),
                int(log["logIndex"], 16),
                bytes.fromhex(log["transactionHash"][2:]),
                bytes.fromhex(sender[26:]),
                bytes.fromhex(receiver[26:]),
                int(token, 16),
            )
        )
    return rows


def main() -> None:
    url, address, first, last, step = sys.argv[1:]
    gc.disable()
    where = (url, address, int(first), int(last), int(step))
    began = time.perf_counter()
    for _ in answers(*where):
        pass
    alone = time.perf_counter() - began
    began = time.perf_counter()
    count = sum(len(decoded(answer)) for answer in answers(*where))
    print(orjson.dumps({"alone_s": alone, "decoded_s": time.perf_counter() - began, "logs": count}).decode())


if __name__ == "__main__":
    main()
