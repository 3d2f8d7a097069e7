"""What every act of the story works with: the API, the chain, the input, and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.api import Api
from demo.films import Film, Slice
from demo.people import Person
from demo.rpc import Chain, Sent, selector, word

NATIVE = "0x" + "00" * 20
GAS = {"register": 1_500_000, "pay": 250_000, "settle": 12_000_000, "withdraw": 400_000, "default": 1_000_000}


@dataclass
class Act:
    """An act under way: calling it moves its bar on by one."""

    advance: Callable[[], None]
    new: bool = True
    """Whether it changed anything; an act that found all as it should be says so at its end."""

    def __call__(self) -> None:
        self.advance()


@dataclass
class Stage:
    """One run of the demo against a running stack."""

    api: Api
    chain: Chain
    slice: Slice
    console: Console
    contracts: dict[str, str]
    """Address by contract name, from GET /v1/chain."""
    tokens: dict[str, dict[str, Any]]
    """Token by symbol, from the same answer."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures for the closing table, by name."""

    @property
    def viewers(self) -> dict[int, Person]:
        """The people of the data, by their number there."""
        return {number: Person("viewer", number) for number in self.slice.people}

    @property
    def works(self) -> dict[int, int]:
        """Film number -> work id, read from the registry on chain; 0 where it is not registered yet."""
        registry = self.contracts["WorkRegistry"]
        calls = [[{"to": registry, "data": _id_of(film.content_hash)}, "latest"] for film in self.slice.films.values()]
        return {
            number: int(answer, 16)
            for number, answer in zip(self.slice.films, self.chain.batch("eth_call", calls), strict=True)
        }

    def work_of(self, film: Film) -> int:
        """The work id of a film, from the registry on chain; 0 where it is not registered."""
        return self.chain.view(self.contracts["WorkRegistry"], "idOf(bytes32)", film.content_hash)[0]

    @contextmanager
    def act(self, title: str, total: int) -> Iterator[Act]:
        """A progress bar for one act. An act with nothing left to do, or that found it done, says so instead."""
        columns = (
            TextColumn("{task.description:<37}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        progress = Progress(*columns, console=self.console, refresh_per_second=5, transient=True)
        task = progress.add_task(title, total=total)
        act = Act(lambda: progress.advance(task), new=total > 0)
        try:
            if total == 0:
                yield act
                return
            with progress if self.console.is_terminal else nullcontext():
                yield act
        finally:
            found_done = f"{title:<37} [dim]done before[/]"
            self.console.print(progress if act.new else found_done)

    def sign(self, person: Person, intent: dict[str, Any], gas: int, note: str) -> Sent:
        return self.chain.sign(person.wallet, intent, gas, f"{person.name}: {note}")

    def send(self, sent: list[Sent], tick: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
        """Send, wait for the receipts, and wait until the mirror has seen the chain's newest block."""
        receipts = self.chain.send(sent, tick)
        if receipts:
            self.mirrored()
        return receipts

    def mirrored(self) -> None:
        """Wait until the mirror is at the chain's newest block, the same one by its hash."""
        self.api.wait_for_block(*self.chain.newest)


def _id_of(content_hash: bytes) -> str:
    return selector("idOf(bytes32)") + word(content_hash)
