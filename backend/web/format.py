"""How figures, addresses and times are written on pages: amounts never rounded up, identicons drawn as SVG. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from markupsafe import Markup

GRID = 5
"""Cells of an identicon's side; it is mirrored, so that it reads as a sign."""


class Figure(NamedTuple):
    """An amount as a page shows it: short, rounded down, with the exact value one tap away."""

    short: str
    exact: str
    symbol: str
    is_zero: bool


def exact(amount: int, decimals: int) -> str:
    """All digits of an amount of base units, thousands grouped, no trailing zeros: 1,234.5"""
    sign, amount = ("−", -amount) if amount < 0 else ("", amount)
    whole, part = divmod(amount, 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{sign}{whole:,}" + (f".{digits}" if digits else "")


def short(amount: int, decimals: int, places: int) -> str:
    """An amount with a fixed number of places, rounded towards zero; what is less than the last place is said so."""
    places = min(places, decimals)
    sign, size = ("−", -amount) if amount < 0 else ("", amount)
    unit = 10 ** (decimals - places)
    if 0 < size < unit:
        return f"{sign}<0.{'1'.rjust(places, '0')}" if places else f"{sign}<1"
    whole, part = divmod(size // unit, 10**places)
    return f"{sign}{whole:,}" + (f".{part:0{places}d}" if places else "")


def places_for(decimals: int) -> int:
    """How many places a token's amounts are shown with: cents for money of few decimals, four for the others."""
    return 2 if decimals <= 8 else 4


def figure(amount: int, *, symbol: str, decimals: int, places: int | None = None) -> Figure:
    """An amount with its unit, ready to be shown."""
    shown = places_for(decimals) if places is None else places
    return Figure(short(amount, decimals, shown), f"{exact(amount, decimals)} {symbol}", symbol, amount == 0)


def short_address(address: str) -> str:
    """0xA1b2...9f: enough to tell people apart at sight; the whole is copied by a click."""
    return f"{address[:6]}…{address[-4:]}"


def identicon(address: str, size: int = 24) -> Markup:
    """A drawn sign of an address: two colours on a 5 x 5 grid, mirrored, all from the sha256 of its bytes."""
    seed = sha256(bytes.fromhex(address.removeprefix("0x"))).digest()
    hue = int.from_bytes(seed[:2]) % 360
    ground, ink = f"hsl({hue} 38% 88%)", f"hsl({(hue + 150 + seed[2] % 60) % 360} 52% 36%)"
    columns = (GRID + 1) // 2
    cells: list[str] = []
    for index in range(columns * GRID):
        if seed[3 + index] & 1:
            column, row = divmod(index, GRID)
            mirrored = {column, GRID - 1 - column}
            cells.extend(f'<rect x="{x + 1}" y="{row + 1}" width="1" height="1"/>' for x in mirrored)
    side = GRID + 2
    return Markup(
        f'<svg class="identicon" width="{size}" height="{size}" viewBox="0 0 {side} {side}" aria-hidden="true"'
        f' shape-rendering="crispEdges"><rect width="{side}" height="{side}" fill="{ground}"/>'
        f'<g fill="{ink}">{"".join(sorted(cells))}</g></svg>'
    )


def day(timestamp: int) -> str:
    """A block time as a date in UTC, as people write it: 21 Nov 2026."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%-d %b %Y}"


def iso(timestamp: int) -> str:
    """A block time, RFC 3339."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(timestamp: int) -> str:
    """A block time in UTC, to the minute."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%-d %b %Y, %H:%M} UTC"
