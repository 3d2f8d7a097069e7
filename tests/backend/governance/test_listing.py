"""Lists of proposals stay cheap and whole, however many proposals and transfers there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event as listen
from sqlalchemy.engine import Engine

from backend.governance import routes
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.mirror import MirrorWriter

NOBODY, SOMEBODY = bytes(20), bytes([7]) * 20
TRP = 10**18


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[MirrorWriter]:
    """The token's supply grows in blocks 1 and 3; the quorum is 4 % and from block 4 on 10 %."""
    made = MirrorWriter(clean_db)
    made.block(transfer(NOBODY, SOMEBODY, 100), ("TroupeGovernor", "QuorumNumeratorUpdated", numerators(0, 4)))
    made.block(transfer(SOMEBODY, NOBODY, 10), transfer(SOMEBODY, SOMEBODY, 50))
    made.block(transfer(NOBODY, SOMEBODY, 110))
    made.block(("TroupeGovernor", "QuorumNumeratorUpdated", numerators(4, 10)))
    yield made
    made.close()


def transfer(sender: bytes, to: bytes, amount: int) -> tuple[str, str, dict[str, Any]]:
    return "TroupeToken", "Transfer", {"from_": sender, "to_": to, "value": amount * TRP}


def numerators(old: int, new: int) -> dict[str, int]:
    return {"old_quorum_numerator": old, "new_quorum_numerator": new}


def proposal(number: int, start: int, end: int = 2**33) -> tuple[str, str, dict[str, Any]]:
    row = {"proposal_id": number, "proposer": SOMEBODY, "vote_start": start, "vote_end": end}
    return (
        "TroupeGovernor",
        "ProposalCreated",
        row
        | {
            "targets": [],
            "values_": [],
            "signatures": [],
            "calldatas": [],
            "description": f"Proposal {number}",
        },
    )


def test_each_quorum_is_that_of_the_proposals_own_snapshot(client: Client, mirror: MirrorWriter) -> None:
    began = mirror.time - 30
    mirror.block(*(proposal(1 + block, began + 10 * block) for block in range(4)))
    items = client.get("/v1/proposals").json()["items"]
    needed = {item["id"]: int(item["tally"]["quorum"]) for item in items}
    assert needed == {"1": 4 * TRP, "2": 36 * TRP // 10, "3": 8 * TRP, "4": 20 * TRP}


def test_a_page_reads_the_transfers_once_however_many_proposals_it_shows(client: Client, mirror: MirrorWriter) -> None:
    """Attack: one cheap request that scans all transfers of the token for every proposal."""
    mirror.block(*(proposal(number, mirror.time - number) for number in range(1, 31)))
    scans: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "token_supply" in statement or "troupe_token_transfer" in statement:
            scans.append(statement)

    listen.listen(Engine, "before_cursor_execute", note)
    try:
        assert len(client.get("/v1/proposals?limit=30").json()["items"]) == 30
    finally:
        listen.remove(Engine, "before_cursor_execute", note)
    assert len(scans) == 1


def test_a_search_for_a_state_reads_a_bounded_part_and_finds_all(
    client: Client, mirror: MirrorWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a proposer with the threshold makes proposals without end, and every search counts all of them."""
    monkeypatch.setattr(routes, "READ_FOR_A_STATE", 10)
    now = mirror.time
    ends = [2**33 if number in (3, 17, 33) else now - 5 for number in range(35)]
    mirror.block(*(proposal(number, now - 100, end) for number, end in enumerate(ends)))
    pages, found, cursor = 0, [], ""
    while True:
        answer = client.get(f"/v1/proposals?state=active&limit=2{cursor}").json()
        pages += 1
        found += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert found == ["33", "17", "3"]
    assert pages == 4
