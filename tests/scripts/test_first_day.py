"""Who decides on the first day: the sentences of docs/contracts.md are the sums of the launch numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scripts.deploy.first_day import first_day
from scripts.deploy.plan import TRP, Governance, People, Plan, Token

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = Plan("launch", People("publisher", "moderator", "guardian", ("a founder", "another")))


def test_v7_the_first_day_in_the_documents_is_computed_from_the_launch_numbers() -> None:
    section = (ROOT / "docs" / "contracts.md").read_text().split("## Who decides on the first day", 1)[1]
    assert section.split("```text\n", 1)[1].split("```", 1)[0].splitlines() == first_day(LAUNCH)


def test_v7_other_numbers_say_something_else() -> None:
    weak = replace(LAUNCH, token=Token(treasury_bps=5_900, founders_bps=100))
    assert "The founders alone can't decide." in first_day(weak)
    split = replace(LAUNCH, people=replace(LAUNCH.people, founders=tuple(map(str, range(101)))))
    assert "The founders alone can't decide." in first_day(split)  # none of them can propose
    open_to_all = replace(LAUNCH, governance=Governance(proposal_threshold=100_000 * TRP, quorum_percent=1))
    said = "\n".join(first_day(open_to_all))
    assert "publisher 100,000, which can propose" in said
    assert "reach the quorum after 2 epochs (14 days)" in said
