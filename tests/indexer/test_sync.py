"""The mirror equals a rebuild from genesis, row for row, whatever the chain does (V5)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexer import deployment, models, views
from indexer.chain import Chain, Header, Segment
from indexer.deployment import Finality
from indexer.errors import BelowFinality, Fatal, Retryable, StaleMirror, WrongChain
from indexer.rpc import Rpc
from indexer.store import Store
from indexer.sync import Sync
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from stack.processes import free_port, running
from tests.indexer.conftest import PUBLIC_CHAIN_ID, Mirrored, other_anvil
from tests.indexer.support import (
    Emitter,
    account,
    difference,
    random_block,
    random_record,
    record,
    settings,
    word,
)
from tests.indexer.test_lies import proxy


def head_hash(emitter: Emitter) -> str:
    return str(emitter.call("eth_getBlockByNumber", "latest", False)["hash"])


@pytest.mark.feature("Q4", via="chain")
def test_v5_backfill_and_head_equal_the_reference(mirrored: Mirrored) -> None:
    rng = random.Random(1)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(60)))
    sync = mirrored.catch_up()
    assert sync.progress.events == len(mirrored.rows()["log"]) > 50
    assert mirrored.difference() is None
    mirrored.emitter.mine(*(random_block(rng) for _ in range(5)))
    mirrored.catch_up()
    assert mirrored.difference() is None


def test_v5_empty_chain_and_empty_ranges(mirrored: Mirrored) -> None:
    mirrored.emitter.write_manifest(mirrored.manifest, startBlock=5, contracts=later(mirrored, 5))
    early = mirrored.sync()
    with pytest.raises(Retryable, match="not reached block"):
        early.advance()
    early.close()
    mirrored.emitter.write_manifest(mirrored.manifest)
    mirrored.emitter.mine(*([] for _ in range(120)))
    mirrored.catch_up()
    assert mirrored.rows()["log"] == []
    assert mirrored.difference() is None
    mirrored.emitter.mine([], [random_record(random.Random(2))], [])
    mirrored.catch_up()
    assert mirrored.difference() is None


def later(mirrored: Mirrored, block: int) -> dict[str, dict[str, object]]:
    return {name: entry | {"block": block} for name, entry in mirrored.emitter.manifest["contracts"].items()}


def test_v5_small_ranges_meet_without_a_gap(mirrored: Mirrored) -> None:
    """An answer's size that is never met keeps every range at one block, so that each border is a seam."""
    rng = random.Random(3)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(80)))
    sync = mirrored.catch_up(indexer_range_bytes=10_000)
    assert sync.progress.steps > 5
    assert mirrored.difference() is None


def test_the_indexes_of_the_views_are_made_at_the_head_and_stay(mirrored: Mirrored) -> None:
    """The first backfill goes without them; a process that was killed before they were made makes them at its next."""

    def present() -> set[str]:
        with psycopg.connect(mirrored.urls.conninfo()) as connection:
            rows = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'chain'").fetchall()
        return {name for (name,) in rows} & views.indexes().keys()

    assert present() == views.indexes().keys()  # as `migrate` made them
    mirrored.emitter.mine(*([random_record(random.Random(2))] for _ in range(3)))
    sync = mirrored.sync()
    assert sync.advance()
    assert present() == set()
    sync.close()
    for _ in range(2):
        mirrored.catch_up()
        assert present() == views.indexes().keys()


def test_an_event_that_no_abi_has_stays_in_the_raw_log(mirrored: Mirrored) -> None:
    unknown = ("WorkRegistry", bytes([1, 0, 0]) + word(5))
    nameless = ("RevenueLedger", bytes([0, 0, 3]) + b"abc")
    mirrored.emitter.mine([unknown, nameless])
    mirrored.catch_up()
    rows = mirrored.rows()
    assert [len(row[4]) for row in rows["log"]] == [32, 0]
    assert mirrored.difference() is None


def test_a_log_that_breaks_its_abi_stops_with_one_sentence(mirrored: Mirrored) -> None:
    contract, good = record("RevenueLedger", "FeeChanged", 100, 200)
    mirrored.emitter.mine([(contract, good[:-1] + bytes([good[-1]])), (contract, good[:-64] + bytes([255]) * 64)])
    with pytest.raises(Fatal, match=r"RevenueLedger\.FeeChanged\(uint16,uint16\).*committed ABIs"):
        mirrored.catch_up()
    assert mirrored.rows()["log"] == []


# ---------------------------------------------------------------------------------------------------- reorganisations


SLOW = pytest.mark.slow


@pytest.mark.parametrize("depth", [1, pytest.param(2, marks=SLOW), 3, 6, pytest.param(25, marks=SLOW)])
@pytest.mark.parametrize("variant", ["fewer events", "other events", "empty range"])
@pytest.mark.feature("Q4", via="chain")
def test_v5_reorganisation(mirrored: Mirrored, depth: int, variant: str) -> None:
    """Case 58."""
    rng = random.Random(depth)
    emitter = mirrored.emitter
    emitter.mine(*(random_block(rng) for _ in range(12)))
    snapshot = emitter.call("evm_snapshot")
    emitter.mine(*([] if variant == "empty range" else random_block(rng) for _ in range(depth)))
    with mirrored.following() as following:
        following.reach(head_hash(emitter))
        assert mirrored.difference() is None
        if variant == "empty range":  # the same blocks but for their times
            emitter.call("evm_revert", snapshot)
            emitter.call("evm_increaseTime", 100)
            emitter.mine(*([] for _ in range(depth)))
        else:
            emitter.reorganise(depth)
        if variant == "other events":
            emitter.mine(random_block(rng), [random_record(rng)])
        following.reach(head_hash(emitter))
        assert mirrored.difference() is None
        assert following.sync.progress.reorganisations >= 1


@pytest.mark.parametrize("depth", [1, 6, 25])
def test_v5_reorganisation_while_stopped(mirrored: Mirrored, depth: int) -> None:
    rng = random.Random(depth)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(30)))
    mirrored.catch_up()
    mirrored.emitter.reorganise(depth)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(3)))
    mirrored.emitter.reorganise(2)  # twice in a row
    mirrored.catch_up()
    assert mirrored.difference() is None


@pytest.mark.parametrize("first", [1, 2])
def test_v5_reorganisation_that_takes_the_same_transactions_in_again(mirrored: Mirrored, first: int) -> None:
    """The logs are the same but for their blocks and indexes: later, beside others."""
    rng = random.Random(first)
    emitter = mirrored.emitter
    emitter.mine(*([random_record(rng)] for _ in range(6)))
    last = [emitter.call("eth_getBlockByNumber", hex(emitter.height() - 2 + at), False) for at in range(3)]
    raw = [emitter.call("eth_getRawTransactionByHash", block["transactions"][0]) for block in last]
    with mirrored.following() as following:
        following.reach(last[-1]["hash"])
        before = mirrored.rows()["log"]
        emitter.call("anvil_reorg", 3, [[each, max(at, first)] for at, each in enumerate(raw)])
        following.reach(head_hash(emitter))
        after = mirrored.rows()["log"]
        assert [log[2] for log in after] == [log[2] for log in before], "the same transactions"
        assert [log[:2] for log in after] != [log[:2] for log in before], "in other places"
        assert mirrored.difference() is None


def test_v5_reorganisation_to_a_longer_chain_while_stopped(mirrored: Mirrored) -> None:
    """The new chain is so much longer that the way goes through the backfill."""
    rng = random.Random(7)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(10)))
    mirrored.catch_up()
    mirrored.emitter.reorganise(5)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(60)))
    sync = mirrored.catch_up()
    assert sync.progress.reorganisations == 1
    assert mirrored.difference() is None


def test_v5_head_going_down_and_up_again(mirrored: Mirrored) -> None:
    rng = random.Random(8)
    emitter = mirrored.emitter
    emitter.mine(*(random_block(rng) for _ in range(5)))
    snapshot = emitter.call("evm_snapshot")
    emitter.mine(*(random_block(rng) for _ in range(7)))
    with mirrored.following() as following:
        following.reach(head_hash(emitter))
        emitter.call("evm_revert", snapshot)
        following.reach(head_hash(emitter))
        assert mirrored.difference() is None
        emitter.mine(*(random_block(rng) for _ in range(7)))
        following.reach(head_hash(emitter))
        assert mirrored.difference() is None


def test_v5_reorganisation_of_every_block_of_the_deployment(mirrored: Mirrored) -> None:
    rng = random.Random(9)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(8)))
    mirrored.catch_up()
    mirrored.emitter.reorganise(8)
    mirrored.catch_up()
    assert mirrored.difference() is None
    assert mirrored.rows()["log"] == []


def test_v5_anvil_killed_and_back_at_an_older_dump(db_urls: DatabaseUrls, tmp_path: Path) -> None:
    rng = random.Random(10)
    state = tmp_path / "state.json"
    port = free_port()
    with running(Anvil(port, state=state).service(), tmp_path / "a.log"):
        emitter = Emitter(f"http://127.0.0.1:{port}")
        emitter.mine(*(random_block(rng) for _ in range(6)))
    old = state.read_bytes()
    mirrored = Mirrored(emitter, db_urls, emitter.write_manifest(tmp_path / "deployment.json"))
    with running(Anvil(port, state=state).service(), tmp_path / "b.log"):
        emitter.call("evm_setAutomine", False)
        emitter.mine(*(random_block(rng) for _ in range(9)))
        mirrored.catch_up()
    state.write_bytes(old)
    with running(Anvil(port, state=state).service(), tmp_path / "c.log"):
        emitter.call("evm_setAutomine", False)
        emitter.mine(*(random_block(rng) for _ in range(2)))
        mirrored.catch_up()
        assert mirrored.difference() is None


def test_a_fresh_chain_with_another_genesis_is_refused(mirrored: Mirrored, tmp_path: Path) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))], [])
    mirrored.catch_up()
    sync = mirrored.sync()
    sync.advance()
    before = mirrored.rows()
    with other_anvil(tmp_path / "other.log", options=("--timestamp", "1000000000")) as url:
        with pytest.raises(WrongChain, match="another chain"):
            Sync(settings(mirrored.urls, url, mirrored.manifest), deployment.load(mirrored.manifest)).run()
        sync._chain.rpc = Rpc(url)  # replaced beneath a running indexer
        with pytest.raises(WrongChain, match="another chain"):
            sync.advance()
    sync.close()
    assert mirrored.rows() == before


# ----------------------------------------------------------------------------------------------------------- finality


@pytest.fixture
def public(public_chain: Emitter, db_urls: DatabaseUrls, tmp_path: Path) -> Mirrored:
    """A mirror of a public chain on which 4 blocks make a block final."""
    public_chain.manifest["finality"] = {"mode": "depth", "depth": 4}
    return Mirrored(public_chain, db_urls, public_chain.write_manifest(tmp_path / "deployment.json"))


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_v5_reorganisation_within_the_promised_depth(
    public: Mirrored, new_database: Callable[[], DatabaseUrls], depth: int
) -> None:
    rng = random.Random(depth)
    emitter = public.emitter
    emitter.mine(*(random_block(rng) for _ in range(12)))
    public.catch_up()
    emitter.reorganise(depth)
    emitter.mine(random_block(rng))
    public.catch_up()
    fresh = Mirrored(emitter, new_database(), public.manifest)
    fresh.catch_up()
    assert difference(public.rows(), fresh.rows()) is None


def test_v5_deeper_than_promised_stops_with_one_sentence_and_changes_nothing(public: Mirrored) -> None:
    rng = random.Random(5)
    public.emitter.mine(*([random_record(rng)] for _ in range(12)))
    public.catch_up()
    before = public.rows()
    public.emitter.reorganise(5)
    with pytest.raises(BelowFinality, match=r"final by 4 blocks on top.*rebuild --from-chain"):
        public.catch_up()
    assert public.rows() == before


def test_v5_only_blocks_with_logs_are_kept_below_finality(
    public: Mirrored, new_database: Callable[[], DatabaseUrls]
) -> None:
    emitter = public.emitter
    emitter.mine(*([] for _ in range(10)), [random_record(random.Random(1))], *([] for _ in range(12)))
    public.catch_up()
    top = emitter.height()
    numbers = [row[0] for row in public.rows()["block"]]
    assert numbers == [emitter.start + 10, *range(top - 3, top + 1)]
    emitter.mine(*([] for _ in range(3)))
    public.catch_up()
    fresh = Mirrored(emitter, new_database(), public.manifest)
    fresh.catch_up()
    assert difference(public.rows(), fresh.rows()) is None


def test_a_late_node_is_waited_for_and_undoes_nothing(public: Mirrored) -> None:
    rng = random.Random(6)
    emitter = public.emitter
    emitter.mine(*([random_record(rng)] for _ in range(6)))
    snapshot = emitter.call("evm_snapshot")
    emitter.mine(*([random_record(rng)] for _ in range(2)))
    public.catch_up()
    before = public.rows()
    emitter.call("evm_revert", snapshot)
    sync = public.sync()
    with pytest.raises(Retryable, match="2 blocks behind"):
        sync.advance()
    sync.close()
    assert public.rows() == before


@pytest.mark.parametrize("more", [4, 7], ids=["at the final block", "below it"])
def test_a_node_late_at_a_height_that_is_not_kept_is_waited_for(public: Mirrored, more: int) -> None:
    """Below finality empty blocks are forgotten: that nothing is known of the node's head doesn't mean it replaced."""
    emitter = public.emitter
    emitter.mine([random_record(random.Random(8))], [])
    snapshot = emitter.call("evm_snapshot")
    emitter.mine(*([] for _ in range(more)))
    public.catch_up()
    before = public.rows()
    emitter.call("evm_revert", snapshot)
    sync = public.sync()
    with pytest.raises(Retryable, match=f"{more} blocks behind"):
        sync.advance()
    sync.close()
    assert public.rows() == before


def test_a_late_node_undoes_nothing_before_a_new_contracts_gap(public: Mirrored) -> None:
    emitter = public.emitter
    emitter.mine([random_record(random.Random(8))], [])
    snapshot = emitter.call("evm_snapshot")
    emitter.mine(*([] for _ in range(7)))
    only(public, "RevenueLedger")
    public.catch_up()
    before = public.rows()
    emitter.call("evm_revert", snapshot)
    emitter.write_manifest(public.manifest)
    sync = public.sync()
    with pytest.raises(Retryable, match="behind the mirror"):
        sync.advance()
    sync.close()
    assert public.rows() == before


def test_v5_one_node_on_another_chain_does_not_stop_the_others(public: Mirrored, tmp_path: Path) -> None:
    """What was final is gone for one node; the other still has it. Beside one that answers nothing, it stops."""
    emitter = public.emitter
    emitter.mine(*([random_record(random.Random(9))] for _ in range(9)))
    public.catch_up()
    before = public.rows()
    genesis_time = str(int(emitter.call("eth_getBlockByNumber", "0x0", False)["timestamp"], 16))
    with other_anvil(tmp_path / "fork.log", chain_id=PUBLIC_CHAIN_ID, options=("--timestamp", genesis_time)) as fork:
        theirs = Emitter(fork)
        assert theirs.manifest["genesisHash"] == emitter.manifest["genesisHash"]
        theirs.mine(*([] for _ in range(11)))
        sync = public.sync(rpc_url=f"{fork},{emitter.url}")
        with pytest.raises(Retryable, match="one of them is on another chain"):
            sync.advance()
        sync.close()
        public.catch_up(rpc_url=f"{fork},{emitter.url}")
        with proxy(emitter.url, lambda request, truth: (401, {}, b"")) as refusing:
            sync = public.sync(rpc_url=f"{fork},{refusing}")
            with pytest.raises(BelowFinality):
                sync.advance()
            sync.close()
    assert public.rows() == before


def test_finality_by_tag_never_goes_back_on_a_public_chain(public: Mirrored) -> None:
    chain = deployment.load(public.manifest)
    public.emitter.mine(*([] for _ in range(9)))
    sync = Sync(settings(public.urls, public.emitter.url, public.manifest), replace(chain, finality=Finality("tag", 0)))
    sync.run(until_caught_up=True)
    assert sync.progress.cursor is not None
    final = sync.progress.cursor.final_number
    assert final == public.emitter.height() - 2
    store = Store(public.urls.indexer, chain, lock_wait_s=1)
    cursor = store.open()
    assert cursor is not None
    assert store.set_final(cursor, final - 3).final_number == final
    store.close()


# --------------------------------------------------------------------------------------------------- the oracle itself


def test_v5_a_table_left_out_of_the_undo_is_found_by_the_reference(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug, which other indexers have had: a new table is forgotten in the undo."""
    transfer = record("WorkRegistry", "Transfer", account(1), account(2), 3)
    mirrored.emitter.mine([], [], [transfer])
    mirrored.catch_up()
    forgetful = {name: by for name, by in models.undo_columns().items() if name != "work_registry_transfer"}
    monkeypatch.setattr(Store, "_undo_columns", forgetful)
    mirrored.emitter.reorganise(1)
    mirrored.catch_up()
    found = mirrored.difference()
    assert found is not None
    assert found.startswith("work_registry_transfer")


def test_v5_every_table_is_undone_or_says_why_not() -> None:
    """A new table cannot be forgotten: it names its block column, or stands here."""
    about_the_mirror_itself = {"cursor", "reorganisation", "outbox", "fingerprint"}
    tables = {table.name for table in models.metadata.sorted_tables}
    assert tables - models.undo_columns().keys() == about_the_mirror_itself
    assert len(tables) > 60


def test_v5_random_history_with_reorganisations_and_restarts(mirrored: Mirrored, another: Mirrored) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  shown when the test fails
    rng = random.Random(seed)
    emitter = mirrored.emitter
    snapshots: list[tuple[str, int]] = []
    for _ in range(25):
        match rng.randrange(6):
            case 0 if emitter.height() > emitter.start + 5:
                emitter.reorganise(rng.randrange(1, 6))
                snapshots.clear()
            case 1:
                snapshots.append((emitter.call("evm_snapshot"), emitter.height()))
            case 2 if snapshots:
                emitter.call("evm_revert", snapshots.pop()[0])
            case 3:
                emitter.mine(*(random_block(rng) for _ in range(rng.choice([1, 40]))))
            case _:
                emitter.mine(*(random_block(rng) for _ in range(rng.randrange(1, 5))))
        if rng.random() < 0.5:
            mirrored.catch_up()
    mirrored.catch_up()
    assert mirrored.difference() is None, f"seed {seed}"
    another.catch_up()
    assert difference(mirrored.rows(), another.rows()) is None, f"seed {seed}"


# -------------------------------------------------------------------------------------------------------- two writers


def test_a_second_writer_is_refused(mirrored: Mirrored) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))])
    with mirrored.following() as following:
        following.reach(head_hash(mirrored.emitter))
        with pytest.raises(Fatal, match="Another indexer writes this database"):
            mirrored.catch_up()
    mirrored.catch_up()  # the first has let go


def test_a_cursor_moved_by_somebody_else_stops_the_step(mirrored: Mirrored) -> None:
    rng = random.Random(1)
    mirrored.emitter.mine([random_record(rng)])
    sync = mirrored.sync()
    assert sync.advance()
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute("UPDATE chain.cursor SET digest = %s", (word(1),))
    mirrored.emitter.mine([random_record(rng)])
    before = mirrored.rows()
    with pytest.raises(Fatal, match="moved by somebody else"):
        sync.advance()
    sync.close()
    assert mirrored.rows() == before


def test_v5_rows_that_the_cursor_does_not_know_of_are_an_error(mirrored: Mirrored) -> None:
    """A duplicate is something to explain, never something to skip."""
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    mirrored.emitter.mine([random_record(random.Random(2))])
    number = mirrored.emitter.height()
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute("INSERT INTO chain.log VALUES (%s, 0, '', '', '', '')", (number,))
    with pytest.raises(Fatal, match="rows that the cursor does not know of"):
        mirrored.catch_up()


def test_v5_a_lost_database_connection_is_taken_up_again(mirrored: Mirrored) -> None:
    rng = random.Random(4)
    mirrored.emitter.mine([random_record(rng)])
    with mirrored.following() as following:
        following.reach(head_hash(mirrored.emitter))
        with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'indexer'"
            )
        mirrored.emitter.mine([random_record(rng)])
        following.reach(head_hash(mirrored.emitter))
    assert mirrored.difference() is None


# ------------------------------------------------------------------------------------------------------ notifications


def test_listeners_hear_of_blocks_and_of_what_is_taken_back(mirrored: Mirrored) -> None:
    import json  # noqa: PLC0415

    emitter = mirrored.emitter
    emitter.mine([])
    mirrored.catch_up()
    with psycopg.connect(mirrored.urls.conninfo("troupe_backend"), autocommit=True) as listener:
        listener.execute("LISTEN chain")
        emitter.mine([record("WorkRegistry", "Transfer", account(1), account(2), 3)])
        height = emitter.height()
        mirrored.catch_up()
        emitter.reorganise(1)
        mirrored.catch_up()
        heard = [json.loads(each.payload) for each in listener.notifies(timeout=5, stop_after=3)]
    assert [each["kind"] for each in heard if each["kind"] != "final"] == ["blocks", "undo", "blocks"][: len(heard)]
    assert heard[0]["events"] == ["WorkRegistry.Transfer"]
    assert (heard[0]["first"], heard[0]["head"]) == (height, height)
    assert any((each["kind"], each.get("first")) == ("undo", height) for each in heard)
    with psycopg.connect(mirrored.urls.conninfo("troupe_backend")) as connection:
        missed = connection.execute(
            "SELECT id, message FROM chain.outbox WHERE id >= %s ORDER BY id", (heard[0]["id"],)
        )
        assert [message | {"id": number} for number, message in missed][: len(heard)] == heard
    with psycopg.connect(mirrored.urls.conninfo("troupe_backend")) as connection:
        assert connection.execute("SELECT first_block FROM chain.reorganisation").fetchall() == [(height,)]


# ------------------------------------------------------------------------------------------------------ new contracts


def only(mirrored: Mirrored, *names: str) -> None:
    """Let the manifest name some of the contracts alone."""
    contracts = {name: mirrored.emitter.manifest["contracts"][name] for name in names}
    mirrored.emitter.write_manifest(mirrored.manifest, contracts=contracts)


@pytest.mark.parametrize("reorganised", [False, True], ids=["as it was", "reorganised meanwhile"])
def test_v5_a_new_contract_fetches_its_own_gap_alone(mirrored: Mirrored, reorganised: bool) -> None:
    """Its logs stand between those that are there already: counts and digests are as if it had been there always."""
    rng = random.Random(14)
    emitter = mirrored.emitter
    emitter.mine(*(random_block(rng) for _ in range(45)), [])
    only(mirrored, "RevenueLedger")
    mirrored.catch_up()
    known = len(mirrored.rows()["log"])
    if reorganised:
        emitter.reorganise(3)
        emitter.mine(*(random_block(rng) for _ in range(4)))
    emitter.write_manifest(mirrored.manifest)
    sync = mirrored.catch_up()
    assert 0 < known < len(mirrored.rows()["log"])
    if not reorganised:
        assert sync.progress.events == len(mirrored.rows()["log"]) - known
    assert mirrored.difference() is None
    mirrored.emitter.mine(random_block(rng), [random_record(rng)])
    mirrored.catch_up()
    assert mirrored.difference() is None


def test_v5_a_new_contract_from_below_the_mirrors_start_brings_its_past_along(mirrored: Mirrored) -> None:
    """The mirror then begins where the older contract does, row for row as one made anew."""
    rng = random.Random(16)
    emitter, young, later = mirrored.emitter, "RevenueLedger", 20
    before = ([each for each in random_block(rng) if each[0] != young] for _ in range(later - 1))
    emitter.mine(*before, *([random_record(rng) for _ in range(2)] for _ in range(12)))
    contracts = emitter.manifest["contracts"] | {young: emitter.manifest["contracts"][young] | {"block": later}}
    emitter.write_manifest(mirrored.manifest, contracts={young: contracts[young]}, startBlock=later)
    mirrored.catch_up()
    assert mirrored.rows()["block"][0][0] == later
    emitter.write_manifest(mirrored.manifest, contracts=contracts)
    mirrored.catch_up()
    assert mirrored.difference() is None
    emitter.reorganise(15)
    emitter.mine([random_record(rng)])
    mirrored.catch_up()
    assert mirrored.difference() is None


def test_v5_a_node_without_the_block_before_a_new_contract_is_asked_again(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late or pruned node behind a balancer: without that block nothing says whose past is read."""
    rng = random.Random(18)
    emitter, young, later = mirrored.emitter, "RevenueLedger", 6
    before = ([each for each in random_block(rng) if each[0] != young] for _ in range(later - 1))
    emitter.mine([], [], *before, *([random_record(rng)] for _ in range(3)))
    emitter.start = 3
    contracts = {
        name: each | {"block": later + 2 if name == young else 3}
        for name, each in emitter.manifest["contracts"].items()
    }
    emitter.write_manifest(mirrored.manifest, contracts={young: contracts[young]}, startBlock=later + 2)
    mirrored.catch_up()
    emitter.write_manifest(mirrored.manifest, contracts=contracts, startBlock=3)
    asked: list[int] = []
    shown = Chain.header

    def header(self: Chain, number: int) -> Header | None:
        asked.append(number)
        return None if asked.count(2) == 1 and number == 2 else shown(self, number)

    monkeypatch.setattr(Chain, "header", header)
    sync = mirrored.catch_up()
    assert (asked.count(2), sync.progress.retries) == (2, 1)
    assert mirrored.difference() is None


def test_v5_a_gap_whose_blocks_are_not_the_mirrors_is_fetched_again(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(19)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(9)))
    only(mirrored, "RevenueLedger")
    mirrored.catch_up()
    mirrored.emitter.write_manifest(mirrored.manifest)
    staged, stage = [], Store.stage

    def other(self: Store, *given: Any) -> None:
        stage(self, *given)
        staged.append(given)
        if len(staged) == 1:
            self.connection.execute(b"UPDATE pg_temp.gap_block SET hash = sha256(hash) WHERE number = 5")

    monkeypatch.setattr(Store, "stage", other)
    sync = mirrored.catch_up()
    assert (len(staged), sync.progress.retries) == (2, 1)
    assert mirrored.difference() is None


def test_an_older_contract_whose_block_is_put_below_the_mirrors_start_needs_a_rebuild(mirrored: Mirrored) -> None:
    """Its past may hold logs that were never asked for."""
    emitter = mirrored.emitter
    emitter.mine(*([] for _ in range(9)))
    contracts = {name: each | {"block": 5} for name, each in emitter.manifest["contracts"].items()}
    emitter.write_manifest(mirrored.manifest, contracts=contracts, startBlock=5)
    mirrored.catch_up()
    emitter.write_manifest(mirrored.manifest)
    with pytest.raises(StaleMirror, match="another deployment"):
        mirrored.catch_up()


def test_v5_a_gap_is_laid_aside_answer_by_answer(mirrored: Mirrored) -> None:
    """However long the gap, one answer is in memory: the next is asked for when the one before is in the database."""
    rng = random.Random(17)
    mirrored.emitter.mine(*([random_record(rng) for _ in range(4)] for _ in range(12)))
    only(mirrored, "TroupeGovernor")
    mirrored.catch_up()
    mirrored.emitter.write_manifest(mirrored.manifest)
    sync = mirrored.sync()
    store = Store(mirrored.urls.indexer, sync.deployment, lock_wait_s=1)
    cursor = store.open()
    assert cursor is not None
    chain = Chain(Rpc(mirrored.emitter.url), replace(sync.deployment, contracts=store.unmirrored))
    laid_aside = []

    def segments() -> Iterator[Segment]:
        given = 0
        for first in range(1, 13, 3):
            segment = chain.segment_by_range(first, first + 2)
            yield segment
            given += len(segment.logs)
            ((there,),) = store.connection.execute("SELECT count(*) FROM pg_temp.gap_log").fetchall()
            laid_aside.append(there == given > 0)

    store.stage(cursor, segments())
    assert laid_aside == [True] * 4
    store.fill(cursor, None)
    store.close()
    assert mirrored.difference() is None


def test_v5_a_gap_that_was_not_committed_is_fetched_again(mirrored: Mirrored) -> None:
    rng = random.Random(15)
    mirrored.emitter.mine(*([random_record(rng) for _ in range(3)] for _ in range(9)))
    only(mirrored, "TroupeGovernor")
    mirrored.catch_up()
    before = mirrored.rows()
    mirrored.emitter.write_manifest(mirrored.manifest)
    died = mirrored.process("run", "--once", FAULT_AT="before fill commit")
    assert died.returncode == -9, died
    assert mirrored.rows() == before
    mirrored.catch_up(indexer_lock_wait_s=10)
    assert mirrored.difference() is None
