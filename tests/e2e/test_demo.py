"""The small demo on a stack of its own: told once, told again, and told over a mirror that lies by one wei."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import psycopg
import pytest

from backend.chain import encode_call
from stack import rpc
from stack.supervisor import Ports, Settings, Stack
from tests.e2e.support import CLOSING, indexer, telling, verify_mirror

NATIVE = bytes(20)
NOTHING_ADDED = "nothing was added to it"
ACTS = (
    "people get their first coins",
    "creators register their works",
    "people sign in and allow",
    "people tip and buy",
    "people watch, feeds follow",
    "a farm of fake accounts signs in",
    "the farm watches its own work",
    "epoch 1 closes, is published, final",
    "creators claim their rewards",
    "the shop opens; people buy and rent",
    "creators hand a quarter on",
    "people pay, through a reorganisation",
    "people watch on",
    "epoch 2 closes, is published, final",
    "a vote lowers the platform fee",
    "holders withdraw up the graph",
)
"""All of them; a second run finds each done."""

pytestmark = pytest.mark.slow


def tell(settings: Settings, output: Path) -> tuple[int, str]:
    with telling(settings, output) as story:
        return story.end(), story.said


def shift_one_payment(settings: Settings, wei: int) -> int:
    """Alter the first payment to the first work in the mirror; its creator holds all of it. Returns the work."""
    with psycopg.connect(settings.database.conninfo()) as admin:
        row = admin.execute(
            "UPDATE chain.revenue_ledger_payment_received SET amount = amount + %(wei)s"
            " WHERE (block_number, log_index) = ("
            "   SELECT block_number, log_index FROM chain.revenue_ledger_payment_received"
            "   WHERE token = %(token)s AND work_id = ("
            "     SELECT min(work_id) FROM chain.revenue_ledger_payment_received WHERE work_id > 0)"
            "   ORDER BY block_number, log_index LIMIT 1)"
            " RETURNING work_id",
            {"wei": wei, "token": NATIVE},
        ).fetchone()
    assert row
    return int(row[0])


def mine_and_reorganise(settings: Settings) -> None:
    """Payments in blocks of their own; then three blocks are replaced, and one more is mined."""
    ledger = json.loads(settings.manifest.read_bytes())["contracts"]["RevenueLedger"]["address"]
    payer = rpc.call(settings.rpc_url, "eth_accounts")[0]
    pay = "0x" + encode_call("RevenueLedger", "payNative", [0, 1, bytes(32)]).hex()
    for wei in range(1, 6):
        call = {"from": payer, "to": ledger, "data": pay, "value": hex(wei)}
        rpc.call(settings.rpc_url, "eth_sendTransaction", call)
        rpc.call(settings.rpc_url, "evm_mine")
    rpc.call(settings.rpc_url, "anvil_reorg", 3, [])
    rpc.call(settings.rpc_url, "evm_mine")


def assert_the_mirror_follows_what_happened_while_it_was_stopped(stack: Stack) -> None:
    """Blocks, and a reorganisation of three: verified and proved; and made from nothing it has the same digest."""
    settings = stack.settings
    with_admin = settings.admin_environment() | {"TROUPE_INDEXER_PORT": "0"}

    def digest() -> str:
        return str(json.loads(indexer(settings, "status", "--json").stdout)["digest"])

    stack.kill("indexer", signal.SIGTERM)
    before = digest()
    mine_and_reorganise(settings)
    for command in (("run", "--once"), ("verify",), ("proof",), ("verify", "--receipts", "--ranges", "0")):
        done = indexer(settings, *command, TROUPE_INDEXER_PORT="0")
        assert done.returncode == 0, (command, done)
    followed = digest()
    assert followed != before
    with psycopg.connect(settings.database.conninfo(), autocommit=True) as admin:
        admin.execute("DROP SCHEMA chain CASCADE")
    done = indexer(settings, "run", "--once", **with_admin)
    assert done.returncode == 0, done
    assert digest() == followed
    assert verify_mirror(settings).returncode == 0


@pytest.mark.feature("Q4", via="cli")
@pytest.mark.feature("R2", via="cli")
@pytest.mark.feature("R3", via="cli")
@pytest.mark.feature("R8", via="cli")
@pytest.mark.feature("E2", via="http")
@pytest.mark.feature("E3", via="http")
@pytest.mark.feature("E4", via="http")
@pytest.mark.feature("G2", via="http")
@pytest.mark.feature("Q1", via="cli")
def test_the_story_is_told_then_found_told_and_one_wei_of_difference_is_named(folder: Path) -> None:
    with Stack(folder / "state", Ports.free()) as stack:
        assert isinstance(stack, Stack)
        settings = stack.settings

        status, said = tell(settings, folder / "first")
        assert status == 0, said
        assert CLOSING in said
        assert "3 blocks replaced" in said
        assert verify_mirror(settings).returncode == 0

        assert NOTHING_ADDED not in said
        head = rpc.call(settings.rpc_url, "eth_getBlockByNumber", "latest", False)["hash"]
        status, said = tell(settings, folder / "second")
        assert status == 0, said
        assert CLOSING in said
        assert NOTHING_ADDED in said
        assert rpc.call(settings.rpc_url, "eth_getBlockByNumber", "latest", False)["hash"] == head
        for act in ACTS:
            assert re.search(rf"^{act} +done before *$", said, re.MULTILINE), said

        for number, wei in enumerate((1, -1)):
            work = shift_one_payment(settings, wei)
            status, said = tell(settings, folder / f"altered{number}")
            assert status == 1, said
            assert CLOSING not in said
            named = rf"work {work}, version \d+, 0x\w{{40}}: predicted [\d.]+ ETH, paid [\d.]+ ETH, 1 base unit apart"
            assert re.search(named, " ".join(said.split())), said
            noticed = verify_mirror(settings)
            assert noticed.returncode == 1, noticed.stdout + noticed.stderr
            shift_one_payment(settings, -wei)

        status, said = tell(settings, folder / "mended")
        assert status == 0, said
        assert CLOSING in said

        assert_the_mirror_follows_what_happened_while_it_was_stopped(stack)
