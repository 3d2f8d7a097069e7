"""kill -9 at every labelled point: the mirror is taken up where it was, with the same rows (V5)."""

from __future__ import annotations

import random
import signal

import psycopg
import pytest

from tests.indexer.conftest import Mirrored
from tests.indexer.support import account, random_block, random_record, record

pytestmark = pytest.mark.slow

STEP = ("after fetch", "raw logs written", "mid decode", "rows written", "before commit", "after commit")
UNDO = ("mid undo", "mid undo:40", "before undo commit", "after undo")


def killed(mirrored: Mirrored, point: str, *arguments: str) -> None:
    """Run the indexer until it dies at `point`."""
    done = mirrored.process(*(arguments or ("run", "--once")), FAULT_AT=point)
    assert done.returncode == -signal.SIGKILL, f"{point} was not reached: {done}"


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", STEP)
@pytest.mark.feature("Q4", via="cli")
def test_v5_killed_in_the_backfill(mirrored: Mirrored, point: str, nth: int) -> None:
    rng = random.Random(f"{point}{nth}")
    mirrored.emitter.mine(*(random_block(rng) for _ in range(59)), [random_record(rng)])
    killed(mirrored, f"{point}:{nth}")
    mirrored.catch_up(indexer_lock_wait_s=10)
    assert mirrored.difference() is None


@pytest.mark.parametrize("point", STEP)
def test_v5_killed_at_the_head(mirrored: Mirrored, point: str) -> None:
    rng = random.Random(point)
    mirrored.emitter.mine(*([random_record(rng)] for _ in range(4)))
    mirrored.catch_up()
    mirrored.emitter.mine([random_record(rng)], [random_record(rng)])
    killed(mirrored, point)
    mirrored.catch_up(indexer_lock_wait_s=10)
    assert mirrored.difference() is None


@pytest.mark.parametrize("point", UNDO)
def test_v5_killed_in_an_undo(mirrored: Mirrored, point: str) -> None:
    rng = random.Random(point)
    mirrored.emitter.mine(*([random_record(rng)] for _ in range(9)))
    mirrored.catch_up()
    mirrored.emitter.reorganise(6)
    killed(mirrored, point)
    mirrored.catch_up(indexer_lock_wait_s=10)
    assert mirrored.difference() is None


@pytest.mark.parametrize("point", ["mid rebuild", "mid swap", "before rebuild commit"])
def test_v5_killed_in_a_rebuild(mirrored: Mirrored, point: str) -> None:
    rng = random.Random(3)
    mirrored.emitter.mine(*([random_record(rng)] for _ in range(9)))
    mirrored.catch_up()
    killed(mirrored, point, "rebuild")
    assert mirrored.difference() is None
    done = mirrored.command("rebuild")
    assert done.returncode == 0, done.stderr
    assert "9 logs decoded anew from the mirror's own raw logs; every table is as it was before" in done.stdout
    assert mirrored.difference() is None


def test_a_rebuild_names_the_tables_that_it_changed(mirrored: Mirrored) -> None:
    transfer = record("WorkRegistry", "Transfer", account(1), account(2), 3)
    mirrored.emitter.mine([transfer, transfer])
    mirrored.catch_up()
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute("DELETE FROM chain.work_registry_transfer WHERE log_index = 1")
    done = mirrored.command("rebuild")
    assert "differing from before: work_registry_transfer (1 rows, now 2)" in done.stdout
    assert mirrored.difference() is None
    assert "every table is as it was before" in mirrored.command("rebuild").stdout


@pytest.mark.parametrize("command", [("run", "--once"), ("rebuild",)], ids=" ".join)
def test_no_fault_is_planted_off_the_development_chain(mirrored: Mirrored, command: tuple[str, ...]) -> None:
    """A variable that was left behind must not kill an indexer that people rely on: it is told, and nothing begins."""
    manifest = mirrored.emitter.write_manifest(mirrored.manifest.with_name("public.json"), chainId=1)
    done = mirrored.process(*command, FAULT_AT="after fetch:3", TROUPE_DEPLOYMENT=str(manifest))
    assert done.returncode == 2, done
    assert "FAULT_AT=after fetch kills the indexer" in done.stderr
    assert "chain 1, not the development chain: unset FAULT_AT" in done.stderr
