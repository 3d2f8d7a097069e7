"""The audit fails on what nobody waived, on a waiver that is no longer needed, and when it has looked at nothing.

What Slither itself finds is seen by `make audit` alone, in its own environment.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from scripts import audit
from scripts.audit import AuditError, Finding, Report, Waiver, coverage, defined, judge, roles, show

REASON = "Somebody has looked at it with care."
STALE = Waiver("timestamp", ("*",), REASON)
SEEN = Finding("timestamp", "Low", "Ledger.pay", "uses timestamp for comparisons")
PLANTED = Finding("tx-origin", "Medium", "Planted.destroy", "uses tx.origin", planted=True)


def test_waived_findings_and_found_planted_bugs_pass() -> None:
    report = judge([SEEN, PLANTED], [STALE], [("tx-origin", "Planted.destroy")])
    assert report.failures == []
    assert ("timestamp", "Low", "1", f"waived: {REASON}") in report.rows


@pytest.mark.parametrize(
    ("findings", "waivers", "named"),
    [
        ([SEEN], [], "timestamp: uses timestamp"),
        ([], [STALE], "matches nothing"),
        ([SEEN], [Waiver("timestamp", ("*", "Ledger.gone"), REASON)], "timestamp for Ledger.gone matches nothing"),
        ([SEEN], [Waiver("timestamp", ("Ledger.gone", "Ledger.pay"), REASON)], "Ledger.gone matches nothing"),
    ],
)
def test_findings_without_waivers_and_waivers_without_findings_fail(
    findings: list[Finding], waivers: list[Waiver], named: str
) -> None:
    (failure,) = judge(findings, waivers, []).failures
    assert named in failure


def test_a_missed_planted_bug_fails_and_a_bug_elsewhere_does_not_stand_in() -> None:
    elsewhere = Finding("tx-origin", "Medium", "Planted.other", "uses tx.origin", planted=True)
    for findings in ([], [elsewhere]):
        (failure,) = judge(findings, [], [("tx-origin", "Planted.destroy")]).failures
        assert "the audit is blind" in failure


def test_a_wildcard_waives_nothing_grave() -> None:
    grave = Finding("reentrancy-eth", "High", "Ledger.withdraw", "pays twice")
    assert len(judge([grave], [Waiver("reentrancy-eth", ("Ledger.*",), REASON)], []).failures) == 2
    assert judge([grave], [Waiver("reentrancy-eth", ("Ledger.withdraw",), REASON)], []).failures == []


def test_a_waiver_for_a_call_covers_no_other_call() -> None:
    waiver = Waiver("reentrancy-benign", ("*",), REASON, calls="restricted()")
    harmless = Finding("reentrancy-benign", "Low", "Ledger.pause", "", calls=("restricted()",))
    assert judge([harmless], [waiver], []).failures == []
    for calls in ((), ("restricted()", "token.transfer(to)"), ("hook(restricted())",)):
        worse = Finding("reentrancy-benign", "Low", "Ledger.pay", "reentered", calls=calls)
        assert judge([harmless, worse], [waiver], []).failures == ["reentrancy-benign: reentered"]


def test_contracts_are_counted_from_the_sources() -> None:
    source = """
    // contract Commented {}
    /* library Old {
    contract Older {} */
    interface IShop {}
    abstract contract Base is IShop {}
    contract Shop
        is Base {}
    library Sums {}
    """
    assert defined(source) == {"IShop", "Base", "Shop", "Sums"}
    assert {name for _, name in audit.defined_in(audit.sources())} > {"RevenueLedger", "IRevenueLedger", "Planted"}


def test_contracts_that_were_not_analysed_fail() -> None:
    ledger, shop = ("contracts/Ledger.sol", "Ledger"), ("contracts/Shop.sol", "Shop")
    assert coverage({ledger, shop}, {ledger, shop}).failures == []
    assert coverage({ledger, shop}, {ledger}).failures == ["Shop in contracts/Shop.sol was not analysed"]
    assert len(coverage({ledger}, {ledger, shop}).failures) == 1
    assert coverage(set(), set()).failures == ["the sources define no contract"]


def test_roles_must_be_asked_for_and_given() -> None:
    table = {"Ledger": {"pause": 4}}
    assert roles({"Ledger": {"pause"}}, table, ["Ledger"]).failures == []
    assert "gives none" in roles({"Ledger": {"pause", "drain"}}, table, ["Ledger"]).failures[0]
    assert "asks for no role" in roles({}, table, ["Ledger"]).failures[0]
    assert "gives none" in roles({"Shop": {"close"}}, {}, ["Shop"]).failures[0]
    assert roles({"Shop": {"close"}}, {}, []).rows == [("Shop", "close", "not deployed yet")]


def test_a_contract_too_large_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    code = {"Fits": "00" * (audit.CODE_LIMIT - 1), "Large": "00" * audit.CODE_LIMIT}
    monkeypatch.setattr(audit.export_abi, "artifact", lambda name: {"deployedBytecode": code[name]})
    assert audit.sizes(code).failures == ["Large has 24,576 bytes of code, the limit is 24,576"]


def test_a_contract_that_was_not_compiled_fails() -> None:
    assert audit.sizes(["NoSuchContract"]).failures == ["NoSuchContract is not compiled: run `make setup`"]


def test_the_committed_waivers_have_reasons(tmp_path: Path) -> None:
    waivers, planted = audit.read_waivers(audit.WAIVERS)
    assert waivers
    assert planted
    bare = tmp_path / "audit.toml"
    bare.write_text('planted = []\n[[waiver]]\ndetector = "timestamp"\nwhere = ["*"]\nreason = "fine"\n')
    with pytest.raises(AuditError, match="needs a reason of a sentence: timestamp"):
        audit.read_waivers(bare)


def test_each_failure_is_printed_and_counted() -> None:
    console = Console(record=True, width=100)
    reports = [Report("sizes", ("contract",), [("Shop",)], ["Shop is too large"]), Report("solhint", ("files",))]
    assert show(console, reports) == 1
    assert "FAILED Shop is too large" in console.export_text()
