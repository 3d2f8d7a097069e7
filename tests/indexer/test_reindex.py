"""`python -m indexer reindex`: what was altered, deleted or put in by hand is named and put right, from a block on."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import psycopg
import pytest

from indexer import deployment, reindex
from indexer.nodes import Nodes
from indexer.store import Cursor, Store
from tests.indexer.conftest import Mirrored
from tests.indexer.support import random_record
from tests.indexer.test_sync import head_hash

BLOCKS = 60
DAMAGE = {
    "a typed row was altered": (
        "UPDATE chain.work_registry_transfer SET to_ = from_, token_id = token_id + 90 WHERE block_number = 50",
        r"work_registry_transfer, block 50, log \d+: other to_, token_id",
    ),
    "a typed row was deleted": (
        "DELETE FROM chain.revenue_ledger_payment_received WHERE block_number = 50",
        r"revenue_ledger_payment_received, block 50, log \d+: was missing",
    ),
    "a raw log was altered": (
        "UPDATE chain.log SET tx_hash = sha256(tx_hash) WHERE block_number = 50 AND log_index = 0",
        "log, block 50, log 0: other tx_hash",
    ),
    "a block's logs were deleted": (
        "DELETE FROM chain.log WHERE block_number = 50",
        "log, block 50, log 0: was missing",
    ),
    "a row was put in": (
        "INSERT INTO chain.work_registry_metadata_changed VALUES (50, 900, '\\x00', 1, 7, '\\x00')",
        "work_registry_metadata_changed, block 50, log 900: should not be there",
    ),
    "a block was altered": ("UPDATE chain.block SET time = time + 1 WHERE number = 50", "block, block 50: other time"),
    "a digest was altered": (
        "UPDATE chain.block SET digest = sha256(digest) WHERE number = 50",
        "block, block 50: other digest",
    ),
    "a row was put in above the head": (
        "INSERT INTO chain.work_registry_metadata_changed VALUES (9000, 1, '\\x00', 1, 7, '\\x00')",
        "work_registry_metadata_changed: 1 rows above the mirror's head",
    ),
    "the cursor was altered": ("UPDATE chain.cursor SET log_count = 5", "cursor: log_count was 5, and there are"),
}


@pytest.fixture
def filled(mirrored: Mirrored) -> Mirrored:
    """Three logs a block, of events that are sure to be in block 50."""
    rng = random.Random(5)
    records = [random_record(rng) for _ in range(400)]
    moved = next(each for each in records if each[0] == "WorkRegistry" and len(each[1]) < 140)
    paid = next(each for each in records if each[0] == "RevenueLedger" and len(each[1]) > 250)
    mirrored.emitter.mine(*([moved, paid, records[number]] for number in range(BLOCKS)), [])
    mirrored.catch_up()
    return mirrored


@pytest.mark.slow
@pytest.mark.feature("Q4", via="cli")
def test_v5_whatever_was_done_by_hand_is_named_and_put_right(filled: Mirrored) -> None:
    before = json.loads(filled.command("status", "--json").stdout)["digest"]
    for what, (damage, named) in DAMAGE.items():
        with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
            assert connection.execute(damage.encode()).rowcount > 0, what
        done = filled.command("reindex", "--from", "45")
        assert done.returncode == 1, (what, done)
        assert re.search(named, done.stdout + done.stderr), (what, done)
        assert f"Digest after   {before}" in done.stdout, what
        assert filled.difference() is None, what
    done = filled.command("reindex")
    assert done.returncode == 0, done
    assert "Blocks 1 to 61 fetched and decoded again: " in done.stdout
    assert "The mirror was as the chain is" in done.stdout


@pytest.mark.slow
def test_v5_a_log_that_the_mirror_never_had_changes_the_digest(filled: Mirrored) -> None:
    """As after a node that left it out: rows, digests and count agree with each other, and not with the chain."""
    true = json.loads(filled.command("status", "--json").stdout)["digest"]
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        for table in ("log", "work_registry_transfer"):
            connection.execute(f"DELETE FROM chain.{table} WHERE block_number = 20".encode())
        connection.execute("UPDATE chain.block SET digest = sha256(digest), log_count = 1 WHERE number >= 20")
        connection.execute("UPDATE chain.cursor SET digest = sha256(digest), log_count = log_count - 3")
    assert filled.command("reindex", "--from", "21").returncode == 1, "not even above the difference"
    found = json.loads(filled.command("reindex", "--json").stdout)
    assert (found["right"], found["digest_after"]) == (False, true)
    assert found["digest_before"] != true
    assert filled.difference() is None


def passes(filled: Mirrored, reached: list[int]) -> Callable[..., reindex.Outcome]:
    """Passes over the mirror that are broken off at a block; they note how far they came."""
    loaded = deployment.load(filled.manifest)

    def pass_(*, until: int, first: int | None = None) -> reindex.Outcome:
        store = Store(filled.urls.indexer, loaded, lock_wait_s=1)

        def report(done: reindex.Pass, _: Cursor) -> None:
            reached.append(done.next)
            if done.next > until:
                raise KeyboardInterrupt

        try:
            nodes = Nodes(filled.emitter.url)
            return reindex.reindex(store, loaded, nodes, first=first, range_bytes=10_000, report=report)
        finally:
            store.close()

    return pass_


def test_v5_a_pass_that_was_broken_off_goes_on_and_tells_all_it_found(filled: Mirrored) -> None:
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        missing = connection.execute(
            "DELETE FROM chain.work_registry_transfer WHERE block_number IN (3, 50) RETURNING block_number"
        ).fetchall()
    reached: list[int] = []
    pass_ = passes(filled, reached)
    with pytest.raises(KeyboardInterrupt):
        pass_(until=10)
    broken_off = reached[-1]
    assert 10 < broken_off < 50
    reached.clear()
    outcome = pass_(until=BLOCKS * 2)
    assert reached[0] > broken_off, "it went on"
    assert (outcome.first, outcome.last, outcome.wrong) == (1, BLOCKS + 1, len(missing))
    assert [int(*re.findall(r"block (\d+)", each)) for each in outcome.findings] == sorted(at for (at,) in missing)
    assert filled.difference() is None


def test_v5_a_healthy_mirror_that_went_on_after_a_broken_pass_is_called_healthy(filled: Mirrored) -> None:
    pass_ = passes(filled, [])
    with pytest.raises(KeyboardInterrupt):
        pass_(until=10)
    filled.emitter.mine([random_record(random.Random(5))])
    filled.catch_up()
    outcome = pass_(until=BLOCKS * 2)
    assert (outcome.wrong, outcome.right) == (0, True)


def test_v5_a_pass_from_another_block_ends_what_a_broken_one_began(filled: Mirrored) -> None:
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        connection.execute("DELETE FROM chain.log WHERE block_number = 3")
    pass_ = passes(filled, [])
    with pytest.raises(KeyboardInterrupt):
        pass_(until=10)
    outcome = pass_(until=BLOCKS * 2, first=45)
    assert (outcome.first, outcome.wrong > 0) == (1, True)
    assert filled.difference() is None


@pytest.mark.slow
def test_rebuild_refuses_raw_logs_that_lack_some_and_names_what_mends_them(filled: Mirrored) -> None:
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        connection.execute("DELETE FROM chain.log WHERE block_number = 3")
    done = filled.command("rebuild")
    assert done.returncode == 1
    assert "python -m indexer reindex" in " ".join(done.stderr.split())
    assert filled.command("reindex").returncode == 1
    assert filled.command("rebuild").returncode == 0
    assert filled.difference() is None


@pytest.mark.slow
@pytest.mark.parametrize("point", ["mid reindex", "before reindex commit"])
def test_v5_a_pass_that_was_killed_is_finished_by_the_next(filled: Mirrored, point: str) -> None:
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        connection.execute("DELETE FROM chain.work_registry_transfer WHERE block_number = 3")
    died = filled.process("reindex", FAULT_AT=point)
    assert died.returncode == -9, died
    done = filled.command("reindex", TROUPE_INDEXER_LOCK_WAIT_S="10")
    assert done.returncode == 1, done
    assert "work_registry_transfer, block 3, log" in done.stderr
    assert filled.difference() is None
    assert filled.command("reindex").returncode == 0


@pytest.mark.slow
def test_what_cannot_be_reindexed_is_told(mirrored: Mirrored) -> None:
    def told(*arguments: str, status: int = 1) -> str:
        done = mirrored.command("reindex", *arguments)
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return re.sub(r"[│\s]+", " ", done.stderr)

    assert "The mirror is empty" in told()
    mirrored.emitter.mine(*([random_record(random.Random(n))] for n in range(3)))
    mirrored.catch_up()
    assert "The mirror has blocks 1 to 3: --from must be one of them, not 4" in told("--from", "4")
    assert "--from" in told("--from", "0", status=2)
    assert "--from" in told("--from", "three", status=2)
    with mirrored.following() as following:
        following.reach(head_hash(mirrored.emitter))
        assert "Another indexer writes this database: stop it first" in told()
    mirrored.emitter.reorganise(2)
    assert "let the indexer follow first" in told()
    mirrored.catch_up()
    assert mirrored.command("reindex", "--from", "2").returncode == 0
