"""Training shared among the worker processes of a Dask scheduler: the same blocks, the same bits, in other processes.

    dask scheduler --host 127.0.0.1 --port 8786        dask worker tcp://127.0.0.1:8786 --nworkers 2 --nthreads 1

Run both in this checkout, in the same environment. Dask has no notion of who calls it: whoever reaches a scheduler runs
code in its workers and here. So this speaks to loopback alone; a scheduler elsewhere is reached through a tunnel that
knows who its ends are. `distributed` is imported when a scheduler is named, and at no other time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from backend.personalization.models.linear import Share

PATIENCE_S: Final = 10
AHEAD: Final = 2
"""So many blocks a worker are under way at once: one that it makes, one that is on its way."""


class NoCluster(Exception):
    """The scheduler can't be used; the text says why and what to do."""


def _checked(address: str) -> str:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        near = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        port = parts.port
    except ValueError:
        near, port = False, None
    if parts.scheme != "tcp" or not near or port is None:
        raise NoCluster(
            f"{address} is no scheduler on this machine: say tcp://127.0.0.1:PORT, and bring one that is elsewhere"
            " here by a tunnel, because whoever reaches a scheduler may run code"
        )
    return f"tcp://{parts.netloc}"


@contextmanager
def shared(address: str) -> Iterator[Share]:
    """A `Share` over the workers of the scheduler. Raises NoCluster when it does not answer or has none."""
    where = _checked(address)
    try:
        from distributed import Client  # noqa: PLC0415 - only when it was asked for
    except ImportError:
        raise NoCluster("the package `distributed` is not installed: `make setup` installs it") from None
    try:
        client: Any = Client(where, timeout=PATIENCE_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        raise NoCluster(f"no scheduler answers at {where}: start one with `dask scheduler`") from error
    with client:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise NoCluster(f"the scheduler at {where} has no worker: start some with `dask worker {where}`")

        def share(function: Callable[[Any, int], Any], given: Any, numbers: Sequence[int]) -> Iterator[Any]:
            there = client.scatter(given, broadcast=True, hash=False)
            under_way: deque[Any] = deque()
            for number in numbers:
                if len(under_way) >= AHEAD * workers:
                    yield under_way.popleft().result()
                under_way.append(client.submit(function, there, number, pure=False))
            while under_way:
                yield under_way.popleft().result()

        yield share
