"""Finality and freshness are not one node's word where several are given (V5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from indexer import deployment
from indexer.chain import Chain, finality_text
from indexer.deployment import Deployment, Finality
from indexer.errors import Retryable
from indexer.sync import Sync
from indexer.witnesses import SILENT_S, STALE_S, Witnesses
from stack.postgres import DatabaseUrls
from tests.indexer.conftest import PUBLIC_CHAIN_ID
from tests.indexer.fake import Call, FakeChain, FakeNode
from tests.indexer.support import settings

BLOCKS = 20


def public(folder: Path, chain: FakeChain, **finality: Any) -> Deployment:
    """The chain's deployment, on a network where finality binds."""
    manifest = folder / "public.json"
    given = {"finality": {"mode": "tag"} | finality}
    manifest.write_text(json.dumps(chain.manifest() | given))
    return deployment.load(manifest)


@pytest.fixture
def chain() -> FakeChain:
    found = FakeChain(chain_id=PUBLIC_CHAIN_ID, finality=5)
    for _ in range(BLOCKS):
        found.mine([])
    return found


def claiming(chain: FakeChain, final: int | None, name: str = "liar") -> FakeNode:
    """A node that calls block `final` of its chain final, None for one that does not answer."""

    def hook(calls: Sequence[Call], answers: list[Any]) -> list[Any]:
        if final is None:
            raise Retryable("it took too long")
        for at, (_, params) in enumerate(calls):
            if params and params[0] == "finalized":
                answers[at] = chain.blocks[final].header
        return answers

    return FakeNode(chain, hook, name)


def heard(followed: FakeNode, others: list[FakeNode], manifest: Deployment, known: int = 3) -> tuple[int, str | None]:
    """What is final by the followed node and the others, and why not more."""
    witnesses = Witnesses(lambda: others, manifest)
    chain = Chain(followed, manifest)
    _, claimed = chain.head()
    return witnesses.final(chain, claimed, known), witnesses.waits


def test_v5_finality_is_what_another_node_agrees_to(chain: FakeChain, tmp_path: Path) -> None:
    manifest = public(tmp_path, chain)
    liar, honest, slow, dead = (claiming(chain, final, f"n{final}") for final in (19, 15, 1, None))
    assert heard(liar, [honest], manifest) == (15, None)
    assert heard(honest, [liar], manifest) == (15, None)
    assert heard(liar, [slow, honest], manifest) == (15, None)
    assert heard(liar, [slow], manifest) == (3, "n19 calls block 19 final, and n1 does so with block 1")
    assert heard(liar, [dead], manifest) == (3, "n19 calls block 19 final, and no other node answers")
    assert heard(liar, [], manifest) == (19, None), "alone it is believed"


def test_v5_a_witness_on_another_chain_agrees_to_nothing(chain: FakeChain, tmp_path: Path) -> None:
    manifest = public(tmp_path, chain)
    fork = FakeChain(list(chain.blocks), PUBLIC_CHAIN_ID, 5)
    fork._salts = 1_000
    fork.cut(10)
    for _ in range(12):
        fork.mine([])
    final, waits = heard(claiming(chain, 15), [claiming(fork, 17, "fork")], manifest)
    assert (final, waits) == (3, "liar calls block 15 final, and fork has another block 15")


def test_v5_a_range_is_final_only_when_another_node_has_the_block_that_ends_it(
    chain: FakeChain, tmp_path: Path
) -> None:
    manifest = public(tmp_path, chain)
    fork = FakeChain(list(chain.blocks), PUBLIC_CHAIN_ID, 5)
    fork._salts = 1_000
    fork.cut(10)
    for _ in range(12):
        fork.mine([])

    def final(of: FakeChain, number: int, others: list[FakeNode]) -> int:
        last = Chain(FakeNode(of), manifest).header(number)
        assert last is not None
        return Witnesses(lambda: others, manifest).of_range(last, 15, known=3)

    honest, dead = FakeNode(chain, name="honest"), claiming(chain, None, "dead")
    assert final(chain, 12, [honest]) == 15
    assert final(fork, 12, [honest]) == 3, "forged blocks below a height that was named truly"
    assert final(fork, 8, [honest]) == 15, "below the fork they are the same"
    assert final(chain, 12, [dead]) == 3
    assert final(fork, 12, []) == 15, "alone a node is believed"


def test_v5_the_head_is_never_final_and_a_promised_depth_binds_the_tag(chain: FakeChain, tmp_path: Path) -> None:
    assert heard(claiming(chain, 20), [], public(tmp_path, chain)) == (19, None)
    assert heard(claiming(chain, 20), [], public(tmp_path, chain, depth=8)) == (12, None)
    assert heard(claiming(chain, 7), [], public(tmp_path, chain, depth=8)) == (7, None)
    assert heard(claiming(chain, 7), [], public(tmp_path, chain, mode="depth", depth=0)) == (19, None)
    assert finality_text(Finality("tag", 8)) == "the finalized tag with 8 blocks on top"


def test_v5_a_final_block_off_its_own_chain_is_refused(chain: FakeChain, tmp_path: Path) -> None:
    manifest = public(tmp_path, chain)

    def hook(calls: Sequence[Call], answers: list[Any]) -> list[Any]:
        for at, (_, params) in enumerate(calls):
            if params and params[0] == "finalized":
                answers[at] = answers[at] | {"hash": "0x" + "12" * 32}
        return answers

    with pytest.raises(Retryable, match="calls a block 15 final that is not on its own chain"):
        Chain(FakeNode(chain, hook), manifest).head()


def test_v5_a_mark_of_finality_that_goes_back_is_told_of_and_changes_nothing(chain: FakeChain, tmp_path: Path) -> None:
    told = heard(claiming(chain, 2), [], public(tmp_path, chain), known=9)
    assert told == (9, "liar calls block 2 final, and 9 was")


def test_a_silent_witness_is_not_asked_at_every_look(chain: FakeChain, tmp_path: Path) -> None:
    manifest = public(tmp_path, chain)
    now, asked = [100.0], []

    def hook(calls: Sequence[Call], answers: list[Any]) -> list[Any]:
        asked.append(calls)
        raise Retryable("it took too long")

    witnesses = Witnesses(lambda: [FakeNode(chain, hook)], manifest, clock=lambda: now[0])
    followed = Chain(claiming(chain, 15), manifest)
    for seconds in (0, SILENT_S - 1, 1):
        now[0] += seconds
        assert witnesses.final(followed, 15, 3) == 3
    assert len(asked) == 2


def test_v5_a_node_whose_head_is_stale_is_passed_over_when_another_has_more(chain: FakeChain, tmp_path: Path) -> None:
    manifest = public(tmp_path, chain)
    stale = FakeChain(list(chain.blocks), PUBLIC_CHAIN_ID, 5)
    now = [100.0]
    others = [FakeNode(stale)]
    witnesses = Witnesses(lambda: others, manifest, clock=lambda: now[0])
    followed = Chain(FakeNode(stale, name="stale"), manifest)
    for _ in range(3):
        now[0] += STALE_S
        witnesses.require_fresh(followed, followed.head()[0])  # nobody has more: it may well be that there is none
    for _ in range(3):
        chain.mine([])
    others.append(FakeNode(chain, name="fresh"))
    witnesses.require_fresh(followed, followed.head()[0])
    now[0] += STALE_S
    with pytest.raises(Retryable, match="stale stays at block 20, and fresh is at 23"):
        witnesses.require_fresh(followed, followed.head()[0])


class Two(FakeNode):
    """A followed node and one beside it, as `Nodes` has them."""

    def __init__(self, first: FakeNode, second: FakeNode) -> None:
        super().__init__(first.chain, first.hook, first.node)
        self._each = [first, second]
        self.switched = 0

    def failed(self, error: Any) -> bool:
        self._each.reverse()
        self.chain, self.hook, self.node = self._each[0].chain, self._each[0].hook, self._each[0].node
        self.switched += 1
        assert self.switched < 3, error
        return True

    def others(self) -> Sequence[FakeNode]:
        return self._each[1:]

    witnesses = others


@pytest.fixture
def two(db_urls: DatabaseUrls, tmp_path: Path, chain: FakeChain) -> Callable[[FakeNode, FakeNode], Sync]:
    def make(first: FakeNode, second: FakeNode) -> Sync:
        manifest = public(tmp_path, chain)
        given = settings(db_urls, "http://unused.invalid", tmp_path / "public.json")
        return Sync(given, manifest, nodes=Two(first, second))  # type: ignore[arg-type]

    return make


def test_v5_one_lying_tag_makes_nothing_final_in_the_mirror(
    two: Callable[[FakeNode, FakeNode], Sync], chain: FakeChain
) -> None:
    sync = two(claiming(chain, 19), FakeNode(chain))
    sync.run(until_caught_up=True)
    assert sync.progress.cursor is not None
    assert (sync.progress.cursor.head_number, sync.progress.cursor.final_number) == (BLOCKS, 15)


def test_v5_a_stale_node_is_left_and_the_mirror_goes_on_with_the_other(
    two: Callable[[FakeNode, FakeNode], Sync], chain: FakeChain
) -> None:
    now = [100.0]
    stale = FakeChain(list(chain.blocks), PUBLIC_CHAIN_ID, 5)
    sync = two(FakeNode(stale, name="stale"), FakeNode(chain))
    sync._witnesses = Witnesses(sync._nodes.witnesses, sync.deployment, clock=lambda: now[0])
    sync.run(until_caught_up=True)
    for _ in range(5):
        chain.mine([])
    assert not sync.advance(), "it believes the node for now"
    now[0] += STALE_S
    sync.run(until_caught_up=True)
    assert sync.progress.cursor is not None
    assert sync.progress.cursor.head_number == BLOCKS + 5
    assert sync._nodes.switched == 1  # type: ignore[attr-defined]
