"""The gas bench ends with 1 when something is dearer than allowed, and when something was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from bench import gas

COMMITTED = {"gas_money.json": {"pay": {"measured": 90, "budget": 100, "slots": 2}}}


def measured(value: int, **beside: Any) -> dict[str, Any]:
    return {"file": "gas_money.json", "operation": "pay", "gas": value, "ceiling": None} | beside


@pytest.mark.parametrize(
    ("reports", "code", "state"),
    [
        ([measured(100)], 0, "ok"),
        ([measured(101)], 1, "above its budget"),
        ([measured(95), measured(101), measured(96)], 1, "above its budget"),
        ([measured(99, ceiling=98)], 1, "above its ceiling"),
        ([], 1, "not measured"),
        ([measured(90, file="gas_shop.json")], 1, "not measured"),
    ],
)
def test_exit_code_says_whether_all_was_measured_and_within(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reports: list[dict[str, Any]],
    code: int,
    state: str,
) -> None:
    monkeypatch.setattr(gas, "budgets", lambda: COMMITTED)
    monkeypatch.setattr(gas, "run", lambda: (0, reports))
    assert gas.main() == code
    assert f'"state": "{state}"' in capsys.readouterr().out.splitlines()[0]


def test_failing_gas_tests_fail_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gas, "budgets", lambda: COMMITTED)
    monkeypatch.setattr(gas, "run", lambda: (1, [measured(90)]))
    assert gas.main() == 1


def test_every_committed_budget_is_listed() -> None:
    listed = list(gas.lines(gas.budgets(), []))
    assert len(listed) == sum(map(len, gas.budgets().values())) > 50
    assert {line.state for line in listed} == {"not measured"}
