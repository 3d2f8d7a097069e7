"""The forecast equals what the ledger then pays, for every holder of random histories; and it can be seen to fail."""

from __future__ import annotations

import pytest
from hypothesis import given

from backend.payouts.forecast import Claim, Holding, claims
from backend.payouts.ledger import Accrual, Counters, Ledger, NothingDue
from tests.backend.payouts.histories import TOKENS, Operation, operations, play


def holdings_by_account(ledger: Ledger) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = {}
    for work in ledger.works:
        for version, leaf in ledger.leaves(work):
            found.setdefault(leaf.account, []).append(Holding(work, version, leaf.position, leaf.weight))
    return found


def mirrored(ledger: Ledger) -> Ledger:
    """The ledger as the service gets it: from the rows of the mirror alone."""
    return Ledger.restored(
        edges={work: w.edges for work, w in ledger.works.items()},
        versions={work: {v: s.total_weight for v, s in w.splits.items()} for work, w in ledger.works.items()},
        accruals=ledger.accruals,
        settled=ledger.settled,
        withdrawn=ledger.withdrawn,
    )


def differences(chain: Ledger, forecast: list[Claim]) -> list[str]:
    """Run each claim's settlements and withdrawal; name every claim that paid something else than forecast."""
    wrong = []
    for claim in forecast:
        chain.settle_many(claim.settles)
        holding = claim.holding
        try:
            paid = chain.withdraw(holding.work, claim.token, holding.version, holding.position, holding.weight)
        except NothingDue:
            paid = 0
        if paid != claim.amount:
            wrong.append(f"{holding} {claim.token}: forecast {claim.amount}, paid {paid}")
    return wrong


@pytest.mark.feature("R8", via="chain")
@given(operations)
def test_V2_the_forecast_is_what_is_paid_to_the_unit_for_every_holder(history: list[Operation]) -> None:
    chain = play(history)
    before = mirrored(chain)
    for account, held in holdings_by_account(chain).items():
        forecast = claims(mirrored(chain), held, TOKENS)
        assert differences(chain, forecast) == [], account
        first_look = {(c.holding, c.token): c.amount for c in claims(before, held, TOKENS)}
        assert {(c.holding, c.token): c.amount for c in forecast if c.amount} == {
            k: v for k, v in first_look.items() if v
        }


def test_one_unit_in_one_row_of_the_mirror_is_noticed() -> None:
    chain = play([("open", 0, 0, 1), ("open", 0, 1, 2), ("pay", 2, 0, 4), ("pay", 1, 0, 5), ("settle", 2, 0, 0)])
    row = next(key for key in chain.accruals if key[0] == 1)
    for unit in (-1, 1):
        mirror = mirrored(chain)
        before, after = mirror.accruals[row]
        mirror.accruals[row] = Accrual(before, Counters(after.direct + unit, after.inherited))
        held = holdings_by_account(chain)["creator1"]
        assert differences(chain.copy(), claims(mirror, held, TOKENS)) != []
    assert differences(chain.copy(), claims(mirrored(chain), held, TOKENS)) == []


def test_a_claim_tells_now_from_after_settling() -> None:
    chain = play([("open", 0, 0, 1), ("open", 0, 1, 2), ("pay", 2, 0, 5)])
    (claim,) = claims(chain, [Holding(1, 1, 1, 1_000_000)], TOKENS)
    assert claim.now == 0
    assert claim.amount > 0
    assert [settle.work for settle in claim.settles] == [2]
    assert claims(chain, [], TOKENS) == []
    assert claims(chain, [Holding(1, 7, 1, 1_000_000)], TOKENS) == [], "a version of the future"
