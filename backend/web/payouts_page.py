"""What the payouts page shows, made from the API's own answers: sentences, figures, bars, rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from backend.payouts.schemas import Line, PolicyMark, Series, Summary, TokenFigures, TokenInfo
from backend.web.format import Figure, exact, figure, iso, moment, short

BAR_UNITS = 1000
"""A bar's full length."""
MAX_SERIES = 5

SOURCE_NAMES: Mapping[str, str] = {
    "tip": "Tips",
    "sale": "Sales",
    "subscription": "Subscriptions",
    "royalty": "Resales and rentals",
    "ad": "Advertising",
    "crowdfund": "Crowdfunding",
    "ticket": "Tickets",
    "micro": "Micropayments",
    "reward": "Rewards",
    "derived": "Derived works",
    "fee": "Platform fees",
    "other": "Other",
}

PAID_FOR: Mapping[str, str] = {
    "tip": "Tip",
    "sale": "Sale",
    "subscription": "Subscription",
    "royalty": "Royalty of a resale or rental",
    "ad": "Advertising",
    "crowdfund": "Crowdfunding",
    "ticket": "Ticket",
    "micro": "Micropayments",
    "reward": "Reward",
    "fee": "Platform fee",
    "other": "Payment",
}

RANGES = ((30, "30 days"), (90, "90 days"), (365, "Year"))


@dataclass(frozen=True)
class Headline:
    """The first screen's sentence: what can be withdrawn now, in each currency that has anything."""

    figures: list[Figure]
    upstream: list[Figure]
    earned: list[Figure]
    withdrawn: list[Figure]
    stopped: list[int]
    """Works whose withdrawals are refused for a time."""

    @property
    def anything(self) -> bool:
        return bool(self.figures)

    @property
    def ever(self) -> bool:
        return bool(self.earned)


@dataclass(frozen=True)
class Bar:
    """One row of a bar list: a name, how long its bar is (of 1000), and the figure."""

    name: str
    length: int
    figure: Figure
    work_id: int | None = None


@dataclass(frozen=True)
class DayRow:
    """A day of the chart's table view."""

    day: str
    cells: list[Figure]


@dataclass(frozen=True)
class Track:
    """One source's row of the chart, labelled in place."""

    name: str
    figure: Figure
    data: str
    """What the drawing script needs, as JSON."""


@dataclass(frozen=True)
class Mark:
    """A change of policy, noted in the chart and its table."""

    day: str
    words: str
    block: int


@dataclass(frozen=True)
class Earnings:
    """The chart of earnings by day, a row for each source, and the two bar lists."""

    token: TokenInfo
    days: int
    first_day: str
    last_day: str
    total: Figure
    tracks: list[Track]
    columns: list[str]
    table: list[DayRow]
    marks: list[Mark]
    by_work: list[Bar]
    by_source: list[Bar]


@dataclass(frozen=True)
class Row:
    """A line of the statement."""

    iso: str
    utc: str
    title: str
    detail: str
    work_id: int
    work: str
    figure: Figure
    outgoing: bool
    stage: str
    block: int
    transaction: str


def headline(summary: Summary) -> Headline:
    """The sentence's figures; what is stopped can't be withdrawn now and is not counted."""

    def sums(name: str) -> list[Figure]:
        amounts = [(token.token, _amount(token, name)) for token in summary.tokens]
        return [money(token, amount) for token, amount in amounts if amount]

    return Headline(
        figures=sums("withdrawable"),
        upstream=sums("upstream"),
        earned=sums("earned"),
        withdrawn=sums("withdrawn"),
        stopped=sorted({work.work_id for token in summary.tokens for work in token.works if work.stopped_until}),
    )


def _amount(token: TokenFigures, name: str) -> int:
    if name == "withdrawable":
        return sum(work.claimable + work.upstream for work in token.works if work.stopped_until is None)
    return int(getattr(token, name))


def money(token: TokenInfo, amount: int) -> Figure:
    """An amount of a currency."""
    return figure(amount, symbol=token.symbol, decimals=token.decimals)


def earnings(series: Series, titles: Mapping[int, str]) -> Earnings:
    """The chart and bar lists of one currency over the series' days."""
    first, last = date.fromisoformat(series.first_day), date.fromisoformat(series.last_day)
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    by_source: dict[str, dict[str, int]] = {}
    by_work: dict[int, int] = {}
    for point in series.points:
        source = by_source.setdefault(point.source, {})
        source[point.day] = source.get(point.day, 0) + point.amount
        by_work[point.work_id] = by_work.get(point.work_id, 0) + point.amount
    ranked = _ranked(by_source)
    highest = max((amount for amounts in ranked.values() for amount in amounts.values()), default=0)
    noted = _noted(ranked, highest)
    tracks = [
        _track(name, amounts, days=days, series=series, highest=highest, noted=noted == name)
        for name, amounts in ranked.items()
    ]
    return Earnings(
        token=series.token,
        days=len(days),
        first_day=series.first_day,
        last_day=series.last_day,
        total=money(series.token, sum(by_work.values())),
        tracks=tracks,
        columns=list(ranked),
        table=[
            DayRow(day, [money(series.token, amounts.get(day, 0)) for amounts in ranked.values()])
            for day in reversed(days)
            if any(day in amounts for amounts in ranked.values())
        ],
        marks=[Mark(mark.day, mark_words(mark), mark.block) for mark in reversed(series.fee_changes)],
        by_work=_bars(series.token, {work_name(work, titles): (amount, work) for work, amount in by_work.items()}),
        by_source=_bars(series.token, {name: (sum(amounts.values()), None) for name, amounts in ranked.items()}),
    )


def _ranked(by_source: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """At most five named sources, the largest first; what is left of them goes together as Other."""
    order = sorted(by_source, key=lambda source: (-sum(by_source[source].values()), source))
    kept = order if len(order) <= MAX_SERIES else order[: MAX_SERIES - 1]
    ranked = {SOURCE_NAMES[source]: dict(by_source[source]) for source in kept}
    rest: dict[str, int] = {}
    for source in order[len(kept) :]:
        for day, amount in by_source[source].items():
            rest[day] = rest.get(day, 0) + amount
    return ranked | ({"All others": rest} if rest else {})


def _noted(ranked: Mapping[str, Mapping[str, int]], highest: int) -> str | None:
    """The track that names the policy changes: the first one that has no figure above its highest bar."""
    free = [name for name, amounts in ranked.items() if max(amounts.values()) < highest]
    return next(iter([*free, *ranked]), None)


def _track(
    name: str, amounts: Mapping[str, int], *, days: Sequence[str], series: Series, highest: int, noted: bool
) -> Track:
    token = series.token
    data = {
        "days": [days[0], len(days)],
        "values": [amounts.get(day, 0) / 10**token.decimals for day in days],  # for pixels only
        "texts": {day: f"{exact(amount, token.decimals)} {token.symbol}" for day, amount in amounts.items()},
        "top": highest / 10**token.decimals,
        "topText": f"{short(highest, token.decimals, 4)}",
        "noted": noted,
        "marks": [[mark.day, mark_words(mark)] for mark in series.fee_changes],
        "name": name,
    }
    return Track(name, money(token, sum(amounts.values())), json.dumps(data))


def mark_words(mark: PolicyMark) -> str:
    """A change of the fee, as the chart notes it."""
    return f"fee {mark.old_bps / 100:.2f}% → {mark.new_bps / 100:.2f}%"


def _bars(token: TokenInfo, amounts: Mapping[str, tuple[int, int | None]]) -> list[Bar]:
    longest = max((amount for amount, _ in amounts.values()), default=0)
    rows = sorted(amounts.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        Bar(name, amount * BAR_UNITS // longest if longest else 0, money(token, amount), work)
        for name, (amount, work) in rows
    ]


def work_name(work_id: int, titles: Mapping[int, str]) -> str:
    """A work's title, or its number where nobody has said what it is called."""
    if work_id == 0:
        return "The platform"
    return titles.get(work_id) or f"Work {work_id}"


def rows(lines: Iterable[Line], titles: Mapping[int, str], *, own: bool) -> list[Row]:
    """The statement's lines in words; `own` when who reads them is who they are about."""
    return [
        Row(
            iso=iso(int(line.time.timestamp())),
            utc=moment(int(line.time.timestamp())),
            title=_line_title(line),
            detail=_line_detail(line, titles, own=own),
            work_id=line.work_id,
            work=work_name(line.work_id, titles),
            figure=money(line.token, -line.amount if line.type == "withdrawal" else line.amount),
            outgoing=line.type == "withdrawal",
            stage=line.stage,
            block=line.block,
            transaction="0x" + line.transaction.hex(),
        )
        for line in lines
    ]


def _line_title(line: Line) -> str:
    if line.type == "withdrawal":
        return "Withdrawn"
    if line.type == "royalty":
        return "Royalty"
    return PAID_FOR.get(line.source or "other", "Payment")


def _line_detail(line: Line, titles: Mapping[int, str], *, own: bool) -> str:
    """What stands under the title: where the money came from, and how much the whole work got if that is more."""
    if line.type == "withdrawal":
        return "to your wallet" if own else "to this address"
    origin = ""
    if line.type in ("royalty", "fee") and line.from_work_id is not None:
        origin = f"from {work_name(line.from_work_id, titles)}"
    if line.credited == line.amount:
        return origin
    shown = money(line.token, line.credited)
    whole = f"a part of {shown.short} {shown.symbol}"
    return f"{origin}, {whole}" if origin else whole
