"""Several nodes that stand for one, what they say about their limits, and newHeads as a hint."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from indexer.errors import AbiMismatch, Fatal, NodeFatal, Retryable, WrongChain
from indexer.fetch import PATIENCE, RangeSize
from indexer.head import NewHeads, websocket_url
from indexer.nodes import FATAL_REST_S, REST_S, Nodes
from indexer.rpc import hinted_blocks
from indexer.sync import DEEP, GAP_OF_POLL
from stack.processes import free_port
from tests.indexer.conftest import Mirrored, eventually, other_anvil
from tests.indexer.support import account, record
from tests.indexer.test_lies import Reply, edited, proxy


def test_a_node_that_fails_is_passed_over_for_a_while() -> None:
    now = [100.0]
    nodes = Nodes("http://one.invalid,http://two.invalid , http://three.invalid", clock=lambda: now[0])
    assert nodes.node == "one.invalid"
    assert nodes.failed(Retryable("it took too long"))
    assert nodes.node == "two.invalid"
    assert [other.node for other in nodes.others()] == ["one.invalid", "three.invalid"]
    assert nodes.again().node == "two.invalid"
    assert nodes.failed(Retryable("busy", after_s=60))
    assert nodes.node == "three.invalid"
    assert not nodes.failed(Retryable("busy")), "all rest: somebody has to wait"
    assert nodes.node == "one.invalid", "the one that rests the shortest"
    now[0] += 10
    assert nodes.failed(Retryable("busy"))
    assert nodes.node == "three.invalid"


def test_one_node_alone_is_never_passed_over() -> None:
    nodes = Nodes("http://one.invalid")
    assert not nodes.failed(Retryable("busy"))
    assert nodes.node == "one.invalid"
    with pytest.raises(Fatal, match="no http"):
        Nodes(" , ")


def test_a_node_that_only_a_person_mends_is_passed_over_until_all_are_such() -> None:
    now = [100.0]
    nodes = Nodes("http://one.invalid,http://two.invalid", clock=lambda: now[0])
    refused = NodeFatal("one refuses us")
    assert nodes.failed(refused)
    assert nodes.node == "two.invalid"
    now[0] += REST_S
    assert not nodes.failed(Retryable("busy")), "the first still rests"
    assert nodes.node == "one.invalid"
    now[0] += FATAL_REST_S
    assert nodes.failed(refused), "the other has not failed so"
    with pytest.raises(NodeFatal, match="two"):
        nodes.failed(NodeFatal("two refuses us"))


def test_v5_every_node_is_checked_before_it_is_followed(mirrored: Mirrored, tmp_path: Path) -> None:
    """The first fails after its check, the second refuses us, the third has another chain; the fourth is right."""
    mirrored.emitter.mine(*([record("WorkRegistry", "Transfer", account(1), account(2), n)] for n in range(9)))
    url = mirrored.emitter.url

    def busy(request: Any, truth: bytes) -> Reply | None:
        return (503, {}, b"") if "latest" in str(request) and "getBlock" in str(request) else None

    with (
        proxy(url, busy) as first,
        proxy(url, lambda request, truth: (401, {}, b"")) as second,
        other_anvil(tmp_path / "other.log", options=("--timestamp", "1")) as third,
    ):
        type(mirrored.emitter)(third).mine(*([] for _ in range(12)))
        sync = mirrored.catch_up(rpc_url=f"{first},{second},{third},{url}")
        assert sync.progress.retries == 3
        with pytest.raises(NodeFatal, match="check the key"):
            mirrored.catch_up(rpc_url=second)
        with pytest.raises(WrongChain):
            mirrored.catch_up(rpc_url=f"{second},{third}")
    assert mirrored.difference() is None


def test_v5_a_log_that_one_node_sends_in_another_form_does_not_stop_the_others(mirrored: Mirrored) -> None:
    mirrored.emitter.mine([record("RevenueLedger", "FeeChanged", 100, 200)])
    with proxy(mirrored.emitter.url, edited(data="0x" + "ff" * 64)) as liar:
        with pytest.raises(AbiMismatch, match="committed ABIs"):
            mirrored.catch_up(rpc_url=liar)
        with pytest.raises(AbiMismatch, match="committed ABIs"):
            mirrored.catch_up(rpc_url=f"{liar},{liar}")
        sync = mirrored.catch_up(rpc_url=f"{liar},{mirrored.emitter.url}")
    assert sync.progress.retries == 1
    assert mirrored.difference() is None


def test_v5_the_mirror_is_whole_when_the_first_node_is_down(mirrored: Mirrored) -> None:
    mirrored.emitter.mine(*([record("WorkRegistry", "Transfer", account(1), account(2), n)] for n in range(40)))
    down = f"http://127.0.0.1:{free_port()}"
    sync = mirrored.catch_up(rpc_url=f"{down},{mirrored.emitter.url}")
    assert sync.progress.retries == 1
    assert mirrored.difference() is None


def test_v5_a_deep_undo_needs_the_other_nodes_consent(mirrored: Mirrored, tmp_path: Path) -> None:
    """One node has gone over to another chain; the other still has ours: nothing is taken back."""
    emitter = mirrored.emitter
    emitter.mine(*([] for _ in range(DEEP + 3)))
    mirrored.catch_up()
    before = mirrored.rows()
    genesis_time = int(emitter.call("eth_getBlockByNumber", "0x0", False)["timestamp"], 16)
    with other_anvil(tmp_path / "fork.log", options=("--timestamp", str(genesis_time))) as fork:
        theirs = type(emitter)(fork)
        if theirs.manifest["genesisHash"] != emitter.manifest["genesisHash"]:
            pytest.fail("the second node does not begin with the same block")
        theirs.mine(*([] for _ in range(DEEP + 5)))
        sync = mirrored.sync(rpc_url=f"{fork},{emitter.url}")
        with pytest.raises(Retryable, match="still has: one of them is on another chain"):
            sync.advance()
        sync.close()
        assert mirrored.rows() == before
        alone = mirrored.sync(rpc_url=fork)
        assert alone.advance(), "the node alone is believed on the development chain"
        alone.close()


@pytest.mark.parametrize(
    ("said", "blocks"),
    [
        ("query returned more than 10000 results. Try with this block range [0x1, 0x64]", 100),
        ("this block range should work: [0x10, 0x1f]", 16),
        ("query returned more than 10000 results", None),
        ("eth_getLogs is limited to a 10,000 block range", 10_000),
        ("block range is too large, max is 2000 blocks", 2_000),
        ("exceed maximum block range: 5000", 5_000),
        ("ranges over 1024 blocks are not supported", 1_024),
        ("You can make eth_getLogs requests with up to a 500 block range", 500),
        ("log response size exceeded", None),
        ("query timeout exceeded", None),
    ],
)
def test_what_a_node_says_about_its_limit_is_understood(said: str, blocks: int | None) -> None:
    assert hinted_blocks(said) == (blocks, blocks is not None and "[0x" not in said)


def test_a_nodes_limit_is_remembered_for_it_alone() -> None:
    size = RangeSize(target_bytes=1_000_000)
    size.blocks = 1_000
    size.refused("a", 1_000, 100, always=True)
    assert (size.blocks, size.for_node("a")) == (100, 100)
    for _ in range(10):
        size.answered(size.for_node("a"), 1_000, 0.01)
    assert size.for_node("a") == 100
    assert size.for_node("b") > 1_000
    size.refused("b", 400, 500)  # what it said cannot be: it has just refused less
    assert size.for_node("b") == 200


def test_advice_about_one_dense_question_does_not_bind_the_next() -> None:
    size = RangeSize(target_bytes=1_000_000)
    size.blocks = 1_000
    size.refused("a", 1_000, 100)
    for _ in range(PATIENCE - 1):
        size.answered(size.for_node("a"), 1_000, 0.01)
    assert size.for_node("a") == 100, "it is not refused at every second answer"
    assert size.learned("a")[0] == 0
    for _ in range(10):
        size.answered(size.for_node("a"), 1_000, 0.01)
    assert size.for_node("a") > 1_000


def test_new_heads_wake_whoever_waits(mirrored: Mirrored) -> None:
    wake = threading.Event()
    with NewHeads(websocket_url(mirrored.emitter.url), wake) as heads:
        eventually(lambda: heads.connected, "the subscription is confirmed")
        wake.clear()
        mirrored.emitter.mine([])
        assert wake.wait(10)
        assert heads.hints >= 1
    assert not heads._thread.is_alive(), "it waits for a message that doesn't come"


def test_hints_without_end_do_not_ask_for_the_head_without_pause(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = mirrored.sync(indexer_poll_ms=2_000)
    advance = sync.advance
    looks: list[float] = []

    def hinted() -> bool:
        looks.append(time.monotonic())
        sync._wake.set()
        if len(looks) == 5:
            sync.stop()
        return advance()

    monkeypatch.setattr(sync, "advance", hinted)
    sync.run()
    assert looks[-1] - looks[-3] >= 2 * GAP_OF_POLL * sync.poll_s


def test_without_a_websocket_polling_goes_on(mirrored: Mirrored) -> None:
    wake = threading.Event()
    with NewHeads(f"ws://127.0.0.1:{free_port()}", wake) as heads:
        assert not wake.wait(0.3)
        assert not heads.connected
    began = time.monotonic()
    with NewHeads(websocket_url(mirrored.emitter.url), wake):
        pass
    assert time.monotonic() - began < 5
