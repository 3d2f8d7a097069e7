"""`indexer verify` on the real contracts: a true mirror is equal in every check, one changed row is found and named."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eth_abi
import psycopg
import pytest
from eth_utils.crypto import keccak

from backend.rewards.merkle import Tree, leaf_split
from indexer import deployment
from indexer.chain import Chain
from indexer.errors import AbiMismatch
from indexer.rpc import Rpc
from indexer.verify import UNKNOWN, verify
from stack import rpc
from stack.postgres import DatabaseUrls
from tests.conftest import Deployed
from tests.indexer.conftest import Mirrored
from tests.indexer.support import ABIS, Emitter, type_of

NATIVE = "0x" + "00" * 20
WEEK_S = 7 * 24 * 3600
WEIGHT = 1_000_000


@dataclass
class Contracts:
    """The real contracts, used by anvil's unlocked accounts."""

    url: str
    manifest: dict[str, Any]
    accounts: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = rpc.call(self.url, "eth_accounts")[5:9]

    def address(self, contract: str) -> str:
        return str(self.manifest["contracts"][contract]["address"])

    def send(self, contract: str, function: str, *arguments: Any, by: int = 0, value: int = 0) -> None:
        """A transaction that must succeed."""
        abi = json.loads((ABIS / f"{contract}.json").read_bytes())
        (entry,) = [each for each in abi if each["type"] == "function" and each["name"] == function]
        types = [type_of(each) for each in entry["inputs"]]
        selector = keccak(text=f"{function}({','.join(types)})")[:4]
        transaction = {
            "from": self.accounts[by],
            "to": self.address(contract),
            "data": "0x" + (selector + eth_abi.encode(types, arguments)).hex(),
            "value": hex(value),
            "gas": hex(3_000_000),
            "gasPrice": "0x0",
        }
        tx_hash = rpc.call(self.url, "eth_sendTransaction", transaction)
        receipt = None
        while receipt is None:
            receipt = rpc.call(self.url, "eth_getTransactionReceipt", tx_hash)
        if receipt["status"] != "0x1":
            reason = rpc.call(self.url, "eth_call", transaction, receipt["blockNumber"])
            raise AssertionError(f"{function} reverted: {reason}")

    def register(self, name: str, *, by: int, licence: int = 0, parents: tuple[int, ...] = (), share: int = 0) -> None:
        """A work of one account, whose split is one leaf."""
        owner = self.accounts[by]
        root = leaf_split(owner, WEIGHT).hash
        digest = keccak(text=name)
        self.send(
            "WorkRegistry",
            "register",
            (
                *(owner, digest, keccak(digest), 1, 1, licence, parents, [share] * len(parents)),
                *(root, WEIGHT, keccak(root), (owner, WEIGHT, 0, []), [], bytes(32)),
            ),
            by=by,
        )


def story(contracts: Contracts) -> None:
    """Two works, one derived from the other; payments, settlements, a share that moves, withdrawals."""
    send, (anna, boris, *_) = contracts.send, contracts.accounts
    terms = (1000, True, True, False, False, True, False, False, False, 0, keccak(text="terms"))
    send("WorkRegistry", "createLicence", terms)
    contracts.register("first", by=0, licence=1)
    contracts.register("second", by=1, parents=(1,), share=1500)
    for amount in (10**18, 1, 333):
        send("RevenueLedger", "payNative", 2, 1, bytes(32), by=2, value=amount)
    send("RevenueLedger", "payNative", 1, 2, bytes(32), by=2, value=10**15 + 7)
    send("RevenueLedger", "payNative", 0, 5, bytes(32), by=2, value=12345)
    send("RevenueLedger", "settle", 2, 0, NATIVE)
    rpc.call(contracts.url, "evm_increaseTime", WEEK_S)
    tree = Tree([leaf_split(boris, 600_000), leaf_split(anna, 400_000)])
    move = (2, boris, WEIGHT, 0, tree.root, keccak(text="tree"), 2**47)
    send("RevenueLedger", "reassign", move, [], [], by=1)
    send("RevenueLedger", "payNative", 2, 1, bytes(32), by=2, value=10**9)
    send("RevenueLedger", "settleMany", [(2, 0, NATIVE)])
    send("RevenueLedger", "withdraw", (2, 1, NATIVE, boris, WEIGHT, 0), [])
    proof = tree.proof(1)
    send("RevenueLedger", "withdraw", (2, 2, NATIVE, anna, 400_000, proof.path), [tuple(n) for n in proof.nodes])
    send("WorkRegistry", "transferFrom", anna, boris, 1)


def shop(contracts: Contracts) -> None:
    """Of the first work, which is boris's by now: characters that move, items singly and in batches, subscriptions."""
    send, (anna, boris, *_), digest = contracts.send, contracts.accounts, keccak(text="metadata")
    send("Characters", "createClass", (1, 10, 0, False, False, NATIVE, NATIVE, bytes(32)), by=1)
    first = 1 << 32 | 1
    for receiver in (anna, anna, boris):
        send("Characters", "mint", receiver, 1, digest, by=1)
    send("Characters", "transferFrom", anna, boris, first)
    now = int(rpc.call(contracts.url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    send("Characters", "setUser", first + 1, boris, now + WEEK_S)
    send("Characters", "burn", first + 2, by=1)
    for _ in range(2):
        send("Items", "createItem", 1, 100, 0, 0, False, digest, by=1)
    send("Items", "mint", anna, 1, 5, by=1)
    send("Items", "mintBatch", anna, [1, 2], [3, 4], by=1)
    send("Items", "safeBatchTransferFrom", anna, boris, [1, 2], [2, 4], b"")
    send("Items", "burn", anna, 1, 1)
    send("Storefront", "createPlan", 1, NATIVE, 1_000, 3_600, by=1)
    for periods in (1, 2):
        send("Storefront", "subscribe", 1, periods, 2_000, anna, by=2, value=periods * 1_000)


def house(contracts: Contracts) -> None:
    """Somebody with enough of the token delegates to herself, proposes and votes; a reward stream is funded."""
    created = {"fromBlock": "0x0", "toBlock": "latest", "address": contracts.address("TroupeToken")}
    logs = rpc.call(contracts.url, "eth_getLogs", created)
    minted = [log for log in logs if len(log["topics"]) == 3 and log["topics"][1] == "0x" + "00" * 32]
    holder = "0x" + max(minted, key=lambda log: int(log["data"], 16))["topics"][2][26:]
    rpc.call(contracts.url, "anvil_impersonateAccount", holder)
    rpc.call(contracts.url, "anvil_setBalance", holder, hex(10**18))
    contracts.accounts.append(holder)
    by = len(contracts.accounts) - 1
    contracts.send("TroupeToken", "delegate", holder, by=by)
    contracts.send("TroupeToken", "transfer", contracts.accounts[0], 1000, by=by)
    rpc.call(contracts.url, "evm_increaseTime", 60)
    call = ([contracts.address("TroupeToken")], [0], [b"\1\2\3\4"])
    contracts.send("TroupeGovernor", "propose", *call, "Nothing much", by=by)
    rpc.call(contracts.url, "evm_increaseTime", 3 * WEEK_S // 7)
    created["address"] = contracts.address("TroupeGovernor")
    (proposed,) = [log for log in rpc.call(contracts.url, "eth_getLogs", created) if len(log["data"]) > 1000]
    contracts.send("TroupeGovernor", "castVote", int(proposed["data"][2:66], 16), 1, by=by)
    contracts.send("RewardDistributor", "fundNative", value=77)


@pytest.fixture(scope="module")
def told(module_deployed: Deployed, new_database: Callable[[], DatabaseUrls]) -> tuple[Contracts, Mirrored]:
    """The real contracts after the story, and a mirror of them."""
    contracts = Contracts(module_deployed.rpc_url, json.loads(module_deployed.manifest.read_bytes()))
    story(contracts)
    shop(contracts)
    house(contracts)
    emitter = Emitter.__new__(Emitter)
    emitter.url = module_deployed.rpc_url
    mirrored = Mirrored(emitter, new_database(), Path(module_deployed.manifest))
    mirrored.catch_up()
    return contracts, mirrored


@pytest.mark.slow
@pytest.mark.feature("Q4", via="cli")
@pytest.mark.feature("R8", via="cli")
def test_v1_v5_a_true_mirror_equals_the_contracts(told: tuple[Contracts, Mirrored]) -> None:
    done = told[1].command("verify", "--all", "--json")
    assert done.returncode == 0, done
    report = json.loads(done.stdout)
    assert report["equal"]
    compared = {check["name"]: check["compared"] for check in report["checks"]}
    assert compared["logs fetched again"] > 60
    assert compared["revenue accounts"] == 3
    assert compared["split versions' beginnings"] == 4
    assert compared["splits"] == 4
    assert compared["withdrawals"] == 2
    assert compared["works"] == 4  # the owner and the rest, of two works
    assert compared["characters"] == 4  # the owner and the use, of two that are not burned
    assert compared["items"] == 4  # two accounts, two items
    assert compared["subscriptions"] == 1
    assert compared["proposals"] == 4
    assert compared["rewards"] >= 2
    assert all(compared.values())
    with psycopg.connect(told[1].urls.conninfo()) as connection:
        (logs,) = connection.execute("SELECT count(*) FROM chain.log").fetchone() or (0,)
    counts = {check["name"]: check["counts"] for check in report["checks"] if check["counts"]}
    assert counts["rows decoded from logs"]["raw log"] == counts["logs fetched again"]["log"] == logs
    assert {name: sum(kinds.values()) for name, kinds in counts.items()} == {name: compared[name] for name in counts}
    shown = told[1].command("verify", "--seed", "1")
    assert shown.returncode == 0
    assert re.search(
        rf"rows decoded from logs: [\d,]+ compared: {logs:,} raw logs, .*\d tables and 2 totals\n", shown.stdout
    )
    assert "The mirror equals the chain at block" in shown.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "UPDATE chain.revenue_ledger_payment_received SET amount = amount + 1 WHERE amount = 333",
            "ledger's balances",
        ),
        ("UPDATE chain.revenue_ledger_payment_received SET fee = fee + 1 WHERE amount = 333", "revenue accounts"),
        ("UPDATE chain.revenue_ledger_edge_settled SET amount = amount - 1 WHERE amount > 9", "settled edges"),
        ("UPDATE chain.revenue_ledger_withdrawn SET amount = amount + 1", "withdrawals"),
        ("UPDATE chain.revenue_ledger_split_activated SET total_weight = 5 WHERE work_id = 2", "splits"),
        ("UPDATE chain.revenue_ledger_fee_changed SET new_bps = new_bps + 1", "platform fee"),
        ("UPDATE chain.work_registry_transfer SET to_ = from_ WHERE token_id = 1", "works"),
        ("UPDATE chain.characters_transfer SET to_ = from_ WHERE token_id = 4294967297", "characters"),
        ("UPDATE chain.characters_update_user SET expires = expires - 1", "characters"),
        ("UPDATE chain.items_transfer_single SET value = value - 1 WHERE value = 5", "items"),
        ("UPDATE chain.item_batch_move SET amount = amount + 1 WHERE member = 2", "items"),
        ("DELETE FROM chain.item_batch_move WHERE member = 1", "rows decoded from logs"),
        ("UPDATE chain.troupe_token_transfer SET value = value - 1 WHERE value = 1000", "token accounts"),
        ("UPDATE chain.troupe_token_delegate_changed SET to_delegate = delegator || '\\x00'", "token accounts"),
        ("UPDATE chain.troupe_governor_vote_cast SET support = 0", "proposals"),
        ("UPDATE chain.troupe_governor_proposal_created SET vote_end = vote_end + 1", "proposals"),
        ("UPDATE chain.reward_distributor_funded SET amount = amount + 1 WHERE amount = 77", "rewards"),
        ("UPDATE chain.storefront_subscribed SET expires_at = expires_at + 1", "subscriptions"),
        ("DELETE FROM chain.work_registry_licence_created", "rows decoded from logs"),
        ("UPDATE chain.work_registry_licence_created SET terms_expires = 5", "rows decoded from logs"),
        ("UPDATE chain.log SET data = data || '\\x00' WHERE topics = '\\x00' OR log_index = 0", None),
        ("DELETE FROM chain.log WHERE block_number = (SELECT max(block_number) FROM chain.log)", "logs fetched again"),
        ("UPDATE chain.log SET tx_hash = sha256(tx_hash)", "logs fetched again"),
        ("UPDATE chain.block SET time = time + 1", "logs fetched again"),
        ("UPDATE chain.cursor SET digest = sha256(digest)", "rows decoded from logs"),
    ],
)
def test_v1_a_changed_row_is_found_and_named(told: tuple[Contracts, Mirrored], change: str, named: str | None) -> None:
    """Each check is seen to fail once, on a change that is rolled back."""
    _, mirrored = told
    chain = Chain(Rpc(mirrored.emitter.url), deployment.load(mirrored.manifest))

    def differing(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
        report = verify(connection, chain, sample=None, rng=random.Random(1), report=lambda _: None)
        return [check.name for check in report.checks if check.findings]

    with psycopg.connect(mirrored.urls.conninfo()) as connection:
        assert connection.execute(change.encode()).rowcount > 0
        if named is None:
            with pytest.raises(AbiMismatch, match="committed ABIs"):
                differing(connection)
        else:
            assert named in differing(connection)
        connection.rollback()


@pytest.mark.parametrize(
    ("change", "told_of"),
    [
        ("UPDATE chain.characters_transfer SET token_id = 77 WHERE token_id = 4294967297", "ownerOf of 77"),
        (
            "UPDATE chain.revenue_ledger_payment_received SET token = '\\x00000000000000000000000000000000000000ff'",
            "balance of 0x00000000000000000000000000000000000000ff",
        ),
    ],
)
def test_what_the_chain_knows_nothing_of_is_a_difference(
    told: tuple[Contracts, Mirrored], change: str, told_of: str
) -> None:
    """A character and a currency that only the mirror has: their getters revert, or there is no contract to ask."""
    _, mirrored = told
    chain = Chain(Rpc(mirrored.emitter.url), deployment.load(mirrored.manifest))
    with psycopg.connect(mirrored.urls.conninfo()) as connection:
        assert connection.execute(change.encode()).rowcount > 0
        report = verify(connection, chain, sample=0, rng=random.Random(1), report=lambda _: None)
        connection.rollback()
    assert told_of in [each.what for check in report.checks for each in check.findings if each.chain == UNKNOWN]


def test_a_difference_ends_with_1_and_is_shown(told: tuple[Contracts, Mirrored]) -> None:
    _, mirrored = told
    amount = "UPDATE chain.revenue_ledger_payment_received SET amount = amount + %s WHERE amount IN (333, 334)"
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute(amount, (1,))
        done = mirrored.command("verify")
        connection.execute(amount, (-1,))
    assert done.returncode == 1
    assert re.search(r"balance of 0x0+: the mirror has \d+, the chain \d+", done.stdout)
    assert "The mirror differs from the chain at block" in done.stdout
    assert mirrored.command("verify").returncode == 0
