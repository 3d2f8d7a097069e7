"""The sender is killed with SIGKILL at each named point and loses nothing, repeats nothing (promise V6, plan F1)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from backend.node import Node
from backend.sender.faults import POINTS, from_environment, nothing
from backend.sender.keys import OperatorKey
from backend.sender.sweeper import Sender
from stack.postgres import DatabaseUrls
from tests.backend.sender.chain import Chain, check_v6, make, run_to_end, transfers

pytestmark = pytest.mark.slow


def suicide(point: str, occurrence: int) -> Callable[[str], None]:
    """A probe that kills its own process, as the kernel would, when a point is reached for the n-th time."""
    left = occurrence

    def probe(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return probe


def run_and_be_killed(
    urls: DatabaseUrls, chain: Chain, key: OperatorKey, point: str, *, occurrence: int = 1, kind: type[Sender] = Sender
) -> None:
    """Run the sender in a process with connections of its own until the point kills it."""
    child = os.fork()
    if child == 0:
        try:
            engine = create_engine(urls.backend)
            own = Chain(Node(chain.url), chain.url)
            run_to_end(make(engine, own, key, kind, probe=suicide(point, occurrence)), own)
        finally:
            os._exit(1)  # not killed: the point was never reached
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL, f"{point} was not reached"


@pytest.mark.parametrize("point", POINTS)
def test_v6_killed_at_each_point_every_intent_has_exactly_one_effect(
    point: str, clean_db: DatabaseUrls, engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key, 3)
    run_and_be_killed(clean_db, chain, key, point)
    run_to_end(make(engine, chain, key), chain)
    check_v6(engine, chain, effects)
    assert chain.node.nonce(key.address) == len(effects)


@pytest.mark.nightly
@pytest.mark.parametrize("occurrence", [2, 3])
@pytest.mark.parametrize("second", ["before_commit", "after_send", "before_final"])
@pytest.mark.parametrize("point", POINTS)
def test_v6_killed_twice(
    *, point: str, second: str, occurrence: int, clean_db: DatabaseUrls, engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key, 3)
    run_and_be_killed(clean_db, chain, key, point, occurrence=occurrence)
    effects += transfers(engine, key, 2)
    run_and_be_killed(clean_db, chain, key, second)
    run_to_end(make(engine, chain, key), chain)
    check_v6(engine, chain, effects)
    assert chain.node.nonce(key.address) == len(effects)


class SendsBeforeCommit(Sender):
    """The planted break: bytes leave before they are stored."""

    def _commit_signed(self, session: object, raw: bytes) -> None:
        assert self.node.send(raw) is None
        super()._commit_signed(session, raw)  # type: ignore[arg-type]


def test_v6_the_oracle_catches_a_sender_that_sends_before_it_commits(
    clean_db: DatabaseUrls, engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key, 3)
    run_and_be_killed(clean_db, chain, key, "before_commit", kind=SendsBeforeCommit)
    run_to_end(make(engine, chain, key, SendsBeforeCommit), chain)
    with pytest.raises(AssertionError, match="got 2000 wei, not 1000"):
        check_v6(engine, chain, effects)


def test_the_fault_variables_are_for_development_and_kill_once(tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    wanted = {"TROUPE_FAULT_AT": "after_commit", "TROUPE_FAULT_ONCE": str(marker)}
    assert from_environment(wanted, env="production") is nothing
    assert from_environment({}, env="dev") is nothing
    with pytest.raises(ValueError, match="no point of the sender"):
        from_environment({"TROUPE_FAULT_AT": "somewhere"}, env="dev")
    probe = from_environment(wanted, env="dev")
    child = os.fork()
    if child == 0:
        probe("before_send")
        probe("after_commit")
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    probe("after_commit")  # the marker is there: this process lives
