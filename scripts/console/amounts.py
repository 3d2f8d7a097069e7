"""Amounts, shares and spans of time as people write and read them. Pure; amounts are base units inside."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from scripts.deploy.plan import DAY, NATIVE

HOUR = 3_600
FULL_BPS = 10_000


class Refused(Exception):
    """What was asked can't be done; the text says why, and what to do instead."""


class Token(NamedTuple):
    """A token that works can be paid in, as the manifest names it."""

    address: str
    symbol: str
    decimals: int


class Amount(NamedTuple):
    """Base units of a token."""

    units: int
    token: Token

    @property
    def is_native(self) -> bool:
        return self.token.address == NATIVE

    def __str__(self) -> str:
        return readable(self.units, self.token)


def number(given: Any) -> Decimal:
    """A finite number that is not negative. Raises Refused."""
    try:
        value = Decimal(str(given).replace(",", "").strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise Refused(f"{given!r} is no amount: write a number and a token, such as '0.5 ETH'")
    return value


def amount(given: Any, tokens: list[Token]) -> Amount:
    """'0.5 ETH', '20 mUSD', or a bare number for the native coin. Raises Refused."""
    written, _, symbol = str(given).strip().partition(" ")
    by_symbol = {token.symbol.lower(): token for token in tokens}
    token = by_symbol.get(symbol.strip().lower() or tokens[0].symbol.lower())
    if token is None:
        raise Refused(f"there is no token {symbol!r} here: use {', '.join(token.symbol for token in tokens)}")
    units = number(written) * 10**token.decimals
    if units != units.to_integral_value():
        raise Refused(f"{token.symbol} has {token.decimals} decimals, '{written}' has more")
    if not units:
        raise Refused("the amount is zero: give more than that")
    return Amount(int(units), token)


def readable(units: int, token: Token) -> str:
    """Exact, without needless zeros: '1,234.5 ETH'."""
    whole, rest = divmod(units, 10**token.decimals)
    fraction = f"{rest:0{token.decimals}d}".rstrip("0") if rest else ""
    return f"{whole:,}{'.' if fraction else ''}{fraction} {token.symbol}"


def basis_points(given: Any) -> int:
    """'12.5%', or a bare number of percent, as basis points. Raises Refused."""
    bps = number(str(given).rstrip("% ")) * 100
    if bps != bps.to_integral_value() or bps > FULL_BPS:
        raise Refused(f"{given!r} is no share: write percent with at most two decimals, such as '12.5%'")
    return int(bps)


def percent(part: int, whole: int = FULL_BPS) -> str:
    """A part of a whole as percent with two decimals at most."""
    return f"{Decimal(part * 100) / Decimal(whole):.2f}".rstrip("0").rstrip(".") + "%"


def days(given: Any) -> int:
    """Days as seconds, at least one second. Raises Refused."""
    seconds = int(number(given) * DAY)
    if not seconds:
        raise Refused("that is no time at all: give a number of days")
    return seconds


def span(seconds: int) -> str:
    """About so long: in whole days above two and where they are exact to the hour, else in hours."""
    hours = max(1, round(seconds / HOUR))
    count, unit = (round(hours / 24), "day") if hours > 48 or hours % 24 == 0 else (hours, "hour")
    return f"{count} {unit}{'s' if count != 1 else ''}"


def table(rows: list[tuple[Any, ...]], header: tuple[str, ...], right: str = "") -> str:
    """Rows in columns; the columns whose names are in `right` (separated by spaces) end flush."""
    cells = [header, *[tuple(map(str, row)) for row in rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    flush = {at for at, name in enumerate(header) if name in right.split()}

    def line(row: tuple[str, ...]) -> str:
        parts = (f"{cell:>{w}}" if at in flush else f"{cell:<{w}}" for at, (cell, w) in enumerate(zip(row, widths)))  # noqa: B905
        return "  " + "  ".join(parts).rstrip()

    return "\n".join(map(line, cells))
