"""Who can decide what on the first day of a deployment, and until when: sums of the plan's numbers, in sentences.

`dry_run` prints them for the network at hand; docs/contracts.md shows those of the launch numbers.
"""

from __future__ import annotations

from scripts.deploy.manifest import EPOCH_LENGTH
from scripts.deploy.plan import DAY, Plan


def _tokens(units: int) -> str:
    return f"{units // 10**18:,}"


def _epochs(needed: int, each: int) -> str:
    count = -(-needed // each)
    return f"{count} epochs ({count * EPOCH_LENGTH // DAY} days)"


def first_day(plan: Plan) -> list[str]:
    """The sentences, of a launch without the development chain's voters."""
    token, governance, parts = plan.token, plan.governance, plan.allocations()
    founders, each = parts["founders"], plan.rewards.epoch_cap
    quorum = token.genesis * governance.quorum_percent // 100
    waits = governance.timelock_delay
    whole = governance.voting_delay + governance.voting_period + waits
    alone = founders >= quorum and founders // len(plan.people.founders) >= governance.proposal_threshold
    publisher = "can" if parts["publisher"] >= governance.proposal_threshold else "can't"
    treasury = parts["treasury"]
    return [
        f"Quorum: {governance.quorum_percent}% of {_tokens(token.genesis)} {token.symbol}, {_tokens(quorum)}."
        f" To propose takes {_tokens(governance.proposal_threshold)}.",
        f"Votes on the first day: founders {_tokens(founders)}, vested or not; publisher {_tokens(parts['publisher'])},"
        f" which {publisher} propose.",
        f"No votes: treasury {_tokens(treasury)}, reward stream {_tokens(parts['rewards'])}.",
        "The founders alone decide." if alone else "The founders alone can't decide.",
        f"Rewards come out at {_tokens(each)} an epoch at most."
        f" Their receivers, if all delegate, reach the quorum after {_epochs(quorum, each)}"
        f" and outvote the founders after {_epochs(founders + 1, each)}, at the earliest.",
        f"The treasury's wallet releases {_tokens(treasury * DAY // token.vesting)} a day; a vote alone spends it.",
        f"A proposal is in force after {whole // DAY} days at the earliest:"
        f" {governance.voting_delay // DAY} of delay, {governance.voting_period // DAY} of voting,"
        f" {waits // DAY} in the Timelock.",
    ]
