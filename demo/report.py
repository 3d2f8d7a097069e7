"""The closing table: what the database predicted beside what the contract paid, and what is left in the contract."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console
from rich.table import Table

from demo.engagement import FARM_EVENTS
from demo.money import Key, Left
from demo.people import Person
from demo.rewards import share_of
from demo.shop import Paid
from demo.stage import Stage
from demo.votes import NEW_FEE_BPS

SHOWN = 12
"""Holders in the table."""
NAMED = 20
"""Differences that are named one by one."""
FARM_LIMIT_PERCENT = 0.5
"""What a farm of fake accounts may earn at most; the same cost spent honestly would earn more."""


def amount(stage: Stage, token: str, value: int) -> str:
    """An amount with its unit, exact: all the digits that are not zeros at the end, at least four."""
    info = next((t for t in stage.tokens.values() if t["address"].lower() == token.lower()), None)
    decimals, symbol = (info["decimals"], info["symbol"]) if info else (0, token[:10])
    whole, part = divmod(value, 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0").ljust(4, "0") if decimals else ""
    return f"{whole:,}.{digits} {symbol}" if digits else f"{whole:,} {symbol}"


def compare(predicted: dict[Key, int], paid: dict[Key, int]) -> list[tuple[Key, int, int]]:
    """The keys where prediction and payment differ."""
    keys = sorted(predicted.keys() | paid.keys())
    return [(k, predicted.get(k, 0), paid.get(k, 0)) for k in keys if predicted.get(k, 0) != paid.get(k, 0)]


def print_money(stage: Stage, predicted: dict[Key, int], paid: dict[Key, int], left: list[Left]) -> bool:
    """Print the comparison; True when every row agrees and what is left is within the bound."""
    console: Console = stage.console
    wrong = compare(predicted, paid)
    per_holder: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for key in predicted.keys() | paid.keys():
        row = per_holder[key[2], key[3]]
        row[0] += 1
        row[1] += predicted.get(key, 0)
        row[2] += paid.get(key, 0)
    table = Table(title="predicted by the database, paid by the contract", title_justify="left")
    table.add_column("holder")
    table.add_column("shares", justify="right")
    table.add_column("predicted", justify="right")
    table.add_column("paid", justify="right")
    table.add_column("", justify="center")
    rows = sorted(per_holder.items(), key=lambda item: (item[0][1], -item[1][2], item[0][0]))
    for (holder, token), (count, wanted, got) in rows[:SHOWN]:
        mark = "[green]=[/]" if wanted == got else "[red]≠[/]"
        table.add_row(_short(holder), str(count), amount(stage, token, wanted), amount(stage, token, got), mark)
    if len(rows) > SHOWN:
        rest = len(rows) - SHOWN
        table.add_row(f"[dim]and {rest} more[/]", "", "", "", "[green]=[/]" if not wrong else "")
    console.print(table)
    for (work, version, holder, token), wanted, got in wrong[:NAMED]:
        units = "base unit" if abs(wanted - got) == 1 else "base units"
        console.print(
            f"[red]work {work}, version {version}, {holder}: predicted {amount(stage, token, wanted)}, "
            f"paid {amount(stage, token, got)}, {abs(wanted - got)} {units} apart[/]"
        )
    if len(wrong) > NAMED:
        console.print(f"[red]and {len(wrong) - NAMED:,} more that differ: `python -m indexer verify` names the rows[/]")
    ledger = Table(title="what the ledger holds now", title_justify="left")
    for column in ("token", "received", "paid out", "left", "rounding allowed (I5)", ""):
        ledger.add_column(column, justify="left" if column == "token" else "right")
    for item in left:
        symbol = amount(stage, item.token, 0).rpartition(" ")[2]
        mark = "[green]holds[/]" if item.holds else "[red]broken[/]"
        ledger.add_row(
            symbol,
            amount(stage, item.token, item.received),
            amount(stage, item.token, item.paid),
            f"{item.balance} units",
            f"{item.bound} units",
            mark,
        )
    console.print(ledger)
    return not wrong and all(item.holds for item in left)


def print_feeds(stage: Stage) -> None:
    """One person's feed before and after a like, each item with its reason."""
    person, liked, before, after = stage.facts.pop("liked")
    table = Table(title=f"the feed of {person}, before and after liking «{liked}»", title_justify="left")
    for column in ("before", "why", "after", "why"):
        table.add_column(column, ratio=1)
    for one, two in zip(before, after, strict=False):
        table.add_row(one["title"], f"[dim]{one['why']}[/]", two["title"], f"[dim]{two['why']}[/]")
    stage.console.print(table)


def print_shop(stage: Stage, traded: list[Paid]) -> bool:
    """What each sale of the shop paid to whom, as said before and as done; True when all of it agrees."""
    if not traded:
        return True
    table = Table(title="the shop: said by the API, done by the contracts", title_justify="left")
    for column in ("sale", "to", "predicted", "paid", ""):
        table.add_column(column, justify="right" if column in ("predicted", "paid") else "left")
    before = ""
    for each in traded:
        mark = "[green]=[/]" if each.predicted == each.paid else "[red]≠[/]"
        said, done = (amount(stage, each.token, value) for value in (each.predicted, each.paid))
        table.add_row("" if each.what == before else each.what, each.whom, said, done, mark)
        before = each.what
    stage.console.print(table)
    return all(each.predicted == each.paid for each in traded)


def print_rewards(stage: Stage, creators: list[Person]) -> bool:
    """Who earned how much by engagement, and what the farm got; True when people had voices and the farm had none to
    speak of."""
    farmer = Person("farmer", 0).address
    table = Table(title="engagement rewards", title_justify="left")
    for column in ("epoch", "events", "voices given", "to creators", "the farm's part of the events", "of the voices"):
        table.add_column(column, justify="right")
    worst, silent = 0.0, False
    for epoch in (1, 2):
        detail = stage.api.get(f"/v1/rewards/epochs/{epoch}", limit=1_000)
        events = detail["epoch"]["events"] or 0
        farmed = stage.facts["fake accounts"] * FARM_EVENTS if epoch == 1 else 0
        share, count = share_of(stage, epoch, farmer)
        worst, silent = max(worst, share), silent or not int(detail["voices"])
        table.add_row(
            str(epoch),
            f"{events:,}",
            f"{int(detail['voices']) / 10**18:,.1f}",
            str(count),
            f"{100 * farmed / events:.1f}%" if events else "-",
            f"{share:.2f}%",
        )
    stage.console.print(table)
    for token in stage.tokens.values():
        claimed = 0
        for person in creators:
            for stream in stage.api.get(f"/v1/rewards/{person.address}")["streams"]:
                claimed += int(stream["claimed"]) if stream["token"] == token["address"] else 0
        if claimed:
            stage.facts[f"rewards claimed, {token['symbol']}"] = amount(stage, token["address"], claimed)
    stage.facts |= _voice(stage)
    return worst <= FARM_LIMIT_PERCENT and not silent


def _voice(stage: Stage) -> dict[str, str]:
    """What a voice costs the farm, or anybody, in an epoch, and what that voice can bring, as the API says it."""
    terms = stage.api.get("/v1/rewards/epochs")["current"]["voice"]

    def listed(part: str) -> list[str]:
        return [amount(stage, each["token"], int(each[part])) for each in terms if each[part] is not None]

    return {
        "a voice costs, in fees an epoch": " or ".join(listed("fee")),
        "and pays out at most": " + ".join(listed("payout")),
    }


def print_vote(stage: Stage, proposal: str, predicted_bps: int, taken_bps: int) -> bool:
    """How the vote ended and what the next payment paid; True when it was executed and the payment used it."""
    found = stage.api.get(f"/v1/proposals/{proposal}")
    tally = {side: int(found["tally"][side]) // 10**18 for side in ("for", "against", "abstain")}
    stage.console.print(
        f"«{found['title']}»: {found['state']}, {tally['for']:,} for, {tally['against']:,} against; "
        f"the next payment paid {taken_bps / 100:.2f}%, as predicted: {'yes' if taken_bps == predicted_bps else 'no'}"
    )
    return found["state"] == "executed" and taken_bps == predicted_bps == NEW_FEE_BPS


def print_facts(stage: Stage) -> None:
    """The figures of the run, one a line."""
    latencies = sorted(stage.facts.pop("feed latencies", []))
    if latencies:
        stage.facts["feed, median"] = f"{1_000 * latencies[len(latencies) // 2]:.1f} ms"
        stage.facts["feed, p99"] = f"{1_000 * latencies[int(len(latencies) * 0.99)]:.1f} ms"
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in stage.facts.items():
        table.add_row(f"[dim]{name}[/]", f"{value:,}" if isinstance(value, int) else str(value))
    stage.console.print(table)


def _short(address: str) -> str:
    return f"{address[:6]}…{address[-4:]}"
