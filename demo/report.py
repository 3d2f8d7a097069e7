"""The closing table: what the database predicted beside what the contract paid, and what is left in the contract."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console
from rich.table import Table

from demo.money import Key, Left
from demo.stage import Stage

SHOWN = 12


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
    for (work, version, holder, token), wanted, got in wrong:
        console.print(
            f"[red]work {work}, version {version}, {holder}: predicted {amount(stage, token, wanted)}, "
            f"paid {amount(stage, token, got)}, {abs(wanted - got)} base units apart[/]"
        )
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


def print_facts(stage: Stage) -> None:
    """The figures of the run, one a line."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in stage.facts.items():
        table.add_row(f"[dim]{name}[/]", f"{value:,}" if isinstance(value, int) else str(value))
    stage.console.print(table)


def _short(address: str) -> str:
    return f"{address[:6]}…{address[-4:]}"
