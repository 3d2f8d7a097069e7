"""The mirror's logs of a block, shown from the block's hash (V5): a lie of the node or of a row cannot pass."""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from indexer import deployment, rlp
from indexer.chain import Chain
from indexer.errors import Retryable
from indexer.health import HealthServer
from indexer.keccak import keccak
from indexer.nodes import Nodes
from indexer.proof import Proof, prove, prove_all
from indexer.sync import Progress
from stack.postgres import DatabaseUrls
from tests.indexer.conftest import Mirrored
from tests.indexer.support import Emitter, random_record

BLOCKS = 6


@pytest.fixture(scope="module")
def filled(without_database: Mirrored, new_database: Callable[[], DatabaseUrls]) -> Mirrored:
    """A chain whose blocks have several transactions and logs, mirrored; the last block but one is empty."""
    emitter: Emitter = without_database.emitter
    rng = random.Random(21)
    first = emitter.height() + 1
    emitter.mine(*([random_record(rng) for _ in range(6)] for _ in range(BLOCKS)), [], [random_record(rng)])
    emitter.start = first
    mirrored = Mirrored(emitter, new_database(), without_database.manifest)
    mirrored.catch_up()
    return mirrored


def proofs(mirrored: Mirrored, change: str | None = None) -> list[Proof]:
    """All kept blocks' proofs, after a change of the mirror that is rolled back."""
    with psycopg.connect(mirrored.urls.conninfo()) as connection:
        if change is not None:
            assert connection.execute(change.encode()).rowcount > 0
        chain = Chain(Nodes(mirrored.emitter.url), deployment.load(mirrored.manifest))
        found = list(prove_all(connection, chain))
        connection.rollback()
    return found


@pytest.mark.feature("Q4", via="chain")
def test_v5_a_true_mirror_is_proved_block_by_block(filled: Mirrored) -> None:
    found = proofs(filled)
    assert all(proof.holds for proof in found)
    assert sum(proof.logs for proof in found) == 6 * BLOCKS + 1
    assert max(proof.receipts for proof in found) > 1


LAST = "(SELECT max(block_number) FROM chain.log)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (f"DELETE FROM chain.log WHERE block_number = {LAST}", "missing in the mirror"),
        (f"INSERT INTO chain.log SELECT block_number, 9, tx_hash, address, topics, data FROM chain.log"
         f" WHERE block_number = {LAST}", "a log 9 that the block has not"),
        (f"UPDATE chain.log SET data = data || '\\x00' WHERE block_number = {LAST}", "other contents"),
        (f"UPDATE chain.log SET topics = sha256(topics) WHERE block_number = {LAST}", "other contents"),
        (f"UPDATE chain.log SET log_index = 1 WHERE block_number = {LAST}", "missing in the mirror"),
        (f"UPDATE chain.log SET tx_hash = sha256(tx_hash) WHERE block_number = {LAST}", "another transaction"),
        (
            "UPDATE chain.log SET log_index = 101 - log_index WHERE log_index IN (1, 2) AND block_number ="
            " (SELECT min(block_number) FROM chain.log)",
            "missing in the mirror",
        ),
    ],
)  # fmt: skip
def test_v5_a_changed_log_is_named(filled: Mirrored, change: str, told: str) -> None:
    findings = [finding for proof in proofs(filled, change) for finding in proof.findings]
    assert any(told in finding for finding in findings), findings


class Forger:
    """A node whose answers about blocks are changed by `forge` on their way."""

    def __init__(self, url: str, forge: Callable[[Any, Any], None]) -> None:
        self._nodes = Nodes(url)
        self._forge = forge
        self.node = "forger"
        self.bytes_read = 0

    def call(self, method: str, *params: Any) -> Any:
        return self._nodes.call(method, *params)

    def batch(self, calls: Any) -> list[Any]:
        answers = self._nodes.batch(calls)
        if calls[0][0] == "eth_getBlockByHash":
            self._forge(answers[0], answers[1])
        return answers

    def close(self) -> None:
        self._nodes.close()


def swap(receipts: list[Any]) -> None:
    logs = next(each["logs"] for each in receipts if len(each["logs"]) > 1)
    logs[0], logs[1] = logs[1], logs[0]


FORGERIES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "a log left out": (lambda block, receipts: receipts[0]["logs"].pop(), "receiptsRoot"),
    "a log twice": (lambda block, receipts: receipts[0]["logs"].append(receipts[0]["logs"][0]), "receiptsRoot"),
    "logs swapped": (lambda block, receipts: swap(receipts), "receiptsRoot"),
    "a receipt left out": (lambda block, receipts: receipts.pop(), "receiptsRoot"),
    "another status": (lambda block, receipts: receipts[0].update(status="0x0"), "receiptsRoot"),
    "another root in the header": (lambda block, receipts: block.update(receiptsRoot="0x" + "11" * 32), "header"),
    "another time": (lambda block, receipts: block.update(timestamp="0x1"), "header"),
    "another parent": (lambda block, receipts: block.update(parentHash="0x" + "11" * 32), "header"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_v5_a_forged_answer_cannot_pass(filled: Mirrored, name: str) -> None:
    forge, told = FORGERIES[name]
    chain = Chain(Forger(filled.emitter.url, forge), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        found = prove(connection, chain, filled.emitter.start)
    assert any(told in finding for finding in found.findings), found


@pytest.mark.parametrize("disguise", ["0x{} {}", "zz{}{}", "0x{}\t{}"])
def test_v5_a_log_cannot_hide_behind_another_writing_of_its_address(filled: Mirrored, disguise: str) -> None:
    """The mirror lacks the logs of a block; the node sends its true receipts, with addresses that read as others."""

    def forge(block: Any, receipts: Any) -> None:
        for log in (log for each in receipts for log in each["logs"]):
            log["address"] = disguise.format(log["address"][2:4], log["address"][4:])

    chain = Chain(Forger(filled.emitter.url, forge), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        connection.execute("DELETE FROM chain.log WHERE block_number = %s", (filled.emitter.start,))
        with pytest.raises(Retryable, match="wrong form"):
            prove(connection, chain, filled.emitter.start)
        connection.rollback()


class Hider(Forger):
    """A node that has put an empty block of its own in the place of block `number`, and links claimed hashes to it."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(url, lambda block, receipts: None)
        self._number = number
        self._invented = dict(self._nodes.call("eth_getBlockByNumber", hex(number), False))
        self._invented |= {"receiptsRoot": "0x" + rlp.EMPTY_ROOT.hex(), "logsBloom": "0x" + "00" * 256}
        self._invented["hash"] = "0x" + rlp.header_hash(self._invented).hex()

    def batch(self, calls: Any) -> list[Any]:
        if calls[0] == ("eth_getBlockByHash", [self._invented["hash"], False]):
            return [self._invented, []]
        answers = self._nodes.batch(calls)
        for at, answer in enumerate(answers):
            if answer["number"] == hex(self._number):
                answers[at] = self._invented
            elif answer["number"] == hex(self._number + 1):
                answer["parentHash"] = self._invented["hash"]
        return answers


def test_v5_an_invented_empty_block_cannot_stand_for_a_hidden_one(filled: Mirrored) -> None:
    hidden = filled.emitter.start + 1
    chain = Chain(Hider(filled.emitter.url, hidden), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        for statement in ("DELETE FROM chain.log WHERE block_number = %s", "DELETE FROM chain.block WHERE number = %s"):
            assert connection.execute(statement.encode(), (hidden,)).rowcount > 0
        with pytest.raises(Retryable, match="is not the one below the mirror's block"):
            prove(connection, chain, hidden)
        honest = Chain(Nodes(filled.emitter.url), deployment.load(filled.manifest))
        assert "log 0 is missing in the mirror" in prove(connection, honest, hidden).findings
        connection.rollback()


HIDDEN = ("DELETE FROM chain.log WHERE block_number = %s", "DELETE FROM chain.block WHERE number = %s")


def test_v5_a_block_that_was_hidden_whole_is_found_by_the_proof_of_all(filled: Mirrored) -> None:
    """The mirror has nothing of it, as if it were empty; a node that goes on hiding it can't link its headers."""
    hidden = filled.emitter.start + 2
    honest = Chain(Nodes(filled.emitter.url), deployment.load(filled.manifest))
    lying = Chain(Hider(filled.emitter.url, hidden), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        for statement in HIDDEN:
            assert connection.execute(statement.encode(), (hidden,)).rowcount > 0
        wrong = [proof for proof in prove_all(connection, honest) if not proof.holds]
        with pytest.raises(Retryable, match="is not the one below the mirror's block"):
            list(prove_all(connection, lying))
        connection.rollback()
    assert [proof.block for proof in wrong] == [hidden]
    assert wrong[0].findings[0] == "log 0 is missing in the mirror"


def test_v5_blocks_that_exclude_us_are_proved_by_their_headers(filled: Mirrored) -> None:
    """Every block of the mirrored range is walked, kept or not; a kept one with another hash is named."""
    empty = filled.emitter.height() - 1
    found = proofs(filled, f"DELETE FROM chain.block WHERE number = {empty}")
    assert all(proof.holds for proof in found)
    numbers = [proof.block for proof in found]
    assert numbers == list(range(filled.emitter.height(), numbers[-1] - 1, -1))
    assert [proof.receipts for proof in found if proof.block == empty] == [0]
    changed = proofs(filled, f"UPDATE chain.block SET hash = sha256(hash) WHERE number = {empty}")
    assert [proof.block for proof in changed if not proof.holds] == [empty]
    begun = proofs(filled, "UPDATE chain.cursor SET start_parent = sha256(start_parent)")
    assert begun[-1].findings == ("the mirror began after another block",)


def test_v5_a_receipt_must_be_of_the_transaction_that_its_block_lists(filled: Mirrored) -> None:
    """The node names another transaction, and the mirror believed it: no root shows that."""
    other = "0x" + "77" * 32
    first = filled.emitter.start

    def forge(block: Any, receipts: Any) -> None:
        receipts[0]["transactionHash"] = other

    chain = Chain(Forger(filled.emitter.url, forge), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        connection.execute(
            "UPDATE chain.log SET tx_hash = %s WHERE block_number = %s AND tx_hash ="
            " (SELECT tx_hash FROM chain.log WHERE block_number = %s ORDER BY log_index LIMIT 1)",
            (bytes.fromhex(other[2:]), first, first),
        )
        found = prove(connection, chain, first)
        connection.rollback()
    assert found.findings == ("the receipts are of other transactions than the block lists",)


@pytest.mark.parametrize("number", ["-0x1", " 0x1", "0x1_0", "1"])
def test_a_number_of_another_form_is_refused(filled: Mirrored, number: str) -> None:
    forge = lambda block, receipts: block.update(gasUsed=number)  # noqa: E731
    chain = Chain(Forger(filled.emitter.url, forge), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection, pytest.raises(Retryable, match="wrong form"):
        prove(connection, chain, filled.emitter.start)


def test_the_command_ends_with_0_and_with_1(filled: Mirrored) -> None:
    empty = filled.emitter.height() - 1
    done = filled.command("proof", "--block", str(empty), "--json")
    assert done.returncode == 0, done
    assert (json.loads(done.stdout)["logs"], json.loads(done.stdout)["holds"]) == (0, True)
    shown = filled.command("proof")
    assert "The mirror has exactly the block's logs of our contracts (1)" in shown.stdout
    assert filled.command("proof", "--block", "999999").returncode == 1
    with psycopg.connect(filled.urls.conninfo(), autocommit=True) as connection:
        connection.execute(f"UPDATE chain.log SET data = data || '\\x01' WHERE block_number = {LAST}".encode())
        done = filled.command("proof")
        connection.execute(
            f"UPDATE chain.log SET data = substr(data, 1, length(data) - 1) WHERE block_number = {LAST}".encode()
        )
    assert done.returncode == 1
    assert "NOT exactly" in done.stdout
    assert filled.command("proof").returncode == 0


def test_an_empty_block_that_was_not_kept_is_reached_over_its_parents(filled: Mirrored) -> None:
    empty = filled.emitter.height() - 1
    chain = Chain(Nodes(filled.emitter.url), deployment.load(filled.manifest))
    with psycopg.connect(filled.urls.conninfo()) as connection:
        assert connection.execute("DELETE FROM chain.block WHERE number = %s", (empty,)).rowcount == 1
        found = prove(connection, chain, empty)
        connection.rollback()
    assert found.holds
    assert found.logs == 0


def test_the_health_port_answers_with_a_proof() -> None:
    asked: list[int | None] = []

    def answer(block: int | None) -> dict[str, Any]:
        asked.append(block)
        return {"holds": block != 7}

    def get(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    with HealthServer(Progress(), 0, stall_s=1, prove=answer) as server:
        assert [get("/proof"), get("/proof?block=6"), get("/proof?block=7"), get("/proof?block=x")] == [
            *(200, 200, 409, 400)
        ]
    assert asked == [None, 6, 7]


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (b"", "80"),
        (b"\x00", "00"),
        (b"\x7f", "7f"),
        (b"\x80", "8180"),
        (b"dog", "83646f67"),
        ([], "c0"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 56, "b838" + "61" * 56),
        (b"a" * 1024, "b90400" + "61" * 1024),
        ([b"a" * 60], "f83e" + "b83c" + "61" * 60),
    ],
)
def test_rlp_as_the_yellow_paper_has_it(item: rlp.Item, encoded: str) -> None:
    assert rlp.encode(item).hex() == encoded


def test_the_root_of_nothing_is_ethereums() -> None:
    assert rlp.trie_root([]).hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    assert keccak(b"").hex().startswith("c5d24601")
