"""The feed's speed beside a bare FastAPI handler: percentiles and requests a second.

    python -m bench.feed [--works 200] [--people 20] [--requests 400] [--rounds 3]

A stack of its own is started on free ports and filled as the demo fills it: the works are registered on chain, the
people sign in, allow what a personal feed needs, and watch and like as the slice of MovieTweetings says. Then every
round asks GET /v1/feed?limit=20 signed in, one request after the other and with a few clients at once; and in the same
round, of the same kind of server (uvicorn, one process), a bare handler that answers a fixed object of the same size.

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Response
from rich.console import Console

from bench import _support
from demo import engagement, films, money
from demo.api import Api
from demo.people import Person
from demo.rpc import Chain
from demo.stage import Stage
from stack.supervisor import Ports, Settings, Stack

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 4
LIMIT_S = 120.0
"""A round that takes longer is cut off there; what was measured until then counts."""
MODEL_PATIENCE_S = 90.0
BARE_BYTES = "TROUPE_BENCH_BYTES"


def bare() -> FastAPI:
    """An application that does nothing: one handler, a fixed answer of the size that the feed's has."""
    app = FastAPI()
    body = json.dumps({"items": "x" * (int(os.environ[BARE_BYTES]) - 13)}).encode()

    @app.get("/feed")
    async def get_feed(limit: int = 20) -> Response:
        return Response(body, media_type="application/json")

    return app


figure = partial(_support.figure, "feed")


def fill(settings: Settings, works: int, people: int) -> tuple[Stage, list[Person]]:
    """Register works and let people watch; returns the stage and the people that engagement was taken from."""
    chain = Chain(settings.rpc_url)
    api = Api(settings.api_url, chain.chain_id)
    served = api.get("/v1/chain")
    whole = films.load()
    chosen = sorted(whole.films.values(), key=lambda film: (film.first_film is not None, film.number))[:works]
    kept = {film.number: film for film in chosen}
    viewers = whole.people[:people]
    wanted = set(viewers)
    ratings = tuple(rating for rating in whole.ratings if rating.film in kept and rating.person in wanted)
    stage = Stage(
        api=api,
        chain=chain,
        slice=films.Slice(kept, viewers, ratings),
        console=Console(stderr=True),
        contracts=served["contracts"],
        tokens={token["symbol"]: token for token in served["tokens"]},
    )
    everybody = list(stage.viewers.values())
    money.fund(stage, [Person("creator", number) for number in {0, *(film.creator for film in chosen)}])
    money.register(stage)
    engagement.sign_in(stage, everybody, "people sign in and allow")
    engagement.watch(stage, ratings, "people watch")
    watched = {rating.person for rating in ratings}
    return stage, [person for number, person in stage.viewers.items() if number in watched]


def await_model(stage: Stage, person: Person) -> dict[str, Any]:
    """The person's feed once it is personal and ranked with a trained model. Raises SystemExit when it never is."""
    deadline = time.monotonic() + MODEL_PATIENCE_S
    while time.monotonic() < deadline:
        feed: dict[str, Any] = stage.api.get("/v1/feed", person, limit=20)
        if feed["personal"] and feed["model_version"] is not None:
            return feed
        time.sleep(0.5)
    raise SystemExit(f"no model was trained within {MODEL_PATIENCE_S:.0f} s: see `./troupe logs worker`")


def ask(url: str, headers: list[dict[str, str]], requests: int) -> list[float]:
    """Seconds of each of `requests` requests over one kept connection, as one person after the other."""
    taken: list[float] = []
    ends = time.monotonic() + LIMIT_S
    with httpx.Client(timeout=30) as client:
        for number in range(requests):
            started = time.perf_counter()
            response = client.get(url, headers=headers[number % len(headers)])
            taken.append(time.perf_counter() - started)
            response.raise_for_status()
            if time.monotonic() > ends:
                break
    return taken


def at_once(url: str, headers: list[dict[str, str]], requests: int) -> float:
    """Requests a second with CLIENTS connections at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = list(pool.map(lambda _: ask(url, headers, requests // CLIENTS), range(CLIENTS)))
    return sum(map(len, parts)) / (time.perf_counter() - started)


def percentile(values: list[float], part: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * part))]


def compare(metric: str, unit: str, feed: list[float], floor: list[float], of: Callable[[float], float]) -> None:
    """One metric of both, as medians over the rounds."""
    ours, bare_ = of(statistics.median(feed)), of(statistics.median(floor))
    figure(f"bare_{metric}", bare_, unit)
    figure(f"feed_{metric}", ours, unit, f"bare_{metric}", ours / bare_)


def measure(stage: Stage, settings: Settings, people: list[Person], folder: Path, options: argparse.Namespace) -> None:
    feed = await_model(stage, people[0])
    answer = httpx.get(
        f"{settings.api_url}/v1/feed?limit=20", headers={"Authorization": f"Bearer {stage.api.token(people[0])}"}
    )
    figure("works", len(stage.slice.films), "works")
    figure("answer", len(answer.content), "bytes")
    figure("answer_items", len(feed["items"]), "items")
    headers = [{"Authorization": f"Bearer {stage.api.token(person)}"} for person in people]
    ours: dict[str, list[float]] = {"p50": [], "p99": [], "rate": []}
    floor: dict[str, list[float]] = {"p50": [], "p99": [], "rate": []}
    size = {BARE_BYTES: str(len(answer.content))}
    with _support.bare_server("bench.feed:bare", size, path="/feed", log=folder / "bare.log") as bare_url:
        targets = ((f"{settings.api_url}/v1/feed?limit=20", ours), (f"{bare_url}?limit=20", floor))
        for url, _ in targets:
            ask(url, headers, len(headers) + 10)  # warm
        for _ in range(options.rounds):
            for url, found in targets:
                taken = ask(url, headers, options.requests)
                found["p50"].append(percentile(taken, 0.5))
                found["p99"].append(percentile(taken, 0.99))
                found["rate"].append(at_once(url, headers, options.requests))
    compare("p50", "ms", ours["p50"], floor["p50"], lambda seconds: seconds * 1_000)
    compare("p99", "ms", ours["p99"], floor["p99"], lambda seconds: seconds * 1_000)
    compare(f"rate_{CLIENTS}_clients", "requests/s", ours["rate"], floor["rate"], lambda rate: rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=200)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        folder = Path(name)
        stack = Stack(folder / "state", Ports.free())
        with stack:
            stage, people = fill(stack.settings, options.works, options.people)
            measure(stage, stack.settings, people, folder, options)


if __name__ == "__main__":
    main()
