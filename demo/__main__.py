"""The creator story on a running stack: `python -m demo --api http://127.0.0.1:8000 --rpc http://127.0.0.1:8545`.

Everything goes through HTTP and JSON-RPC; nothing of the product is imported. What is done already is read from the
chain, so a second run resumes, or says that all is done. Ends with 1 when one figure of the table differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping

import httpx
from rich.console import Console

from demo import engagement, films, money, report, rewards, shop, votes
from demo.api import Api, ApiError
from demo.people import Person
from demo.rpc import Chain, ChainError
from demo.stage import Stage


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m demo", description="Play the creator story on a running stack.")
    api, rpc = (os.environ.get(f"TROUPE_{name}_URL") for name in ("API", "RPC"))  # what `./troupe demo` says
    arguments.add_argument("--api", default=api or "http://127.0.0.1:8000", help="the API's address")
    arguments.add_argument("--rpc", default=rpc or "http://127.0.0.1:8545", help="the development chain's address")
    arguments.add_argument("--scale", type=float, default=1.0, help="part of the films and people, 0.02 to 1")
    options = arguments.parse_args()
    if not 0.02 <= options.scale <= 1:
        arguments.error(f"--scale {options.scale}: give a part between 0.02 and 1")
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    try:
        return play(options.api.rstrip("/"), options.rpc, options.scale, console)
    except (ApiError, ChainError, TimeoutError, httpx.TransportError) as error:
        console.print(f"[red]the story stopped:[/] {error}")
        console.print("what was done is on the chain: run it again to go on from here")
        return 1


def play(api_url: str, rpc_url: str, scale: float, console: Console) -> int:
    """Play every act; returns the exit status."""
    started = time.monotonic()
    chain = Chain(rpc_url)
    api = Api(api_url, chain.chain_id)
    served = api.get("/v1/chain")
    if served["chain_id"] != 31337:
        console.print(f"the demo is for the development chain (31337), not for chain {served['chain_id']}")
        return 1
    stage = Stage(
        api=api,
        chain=chain,
        slice=films.load(scale),
        console=console,
        contracts=served["contracts"],
        tokens={token["symbol"]: token for token in served["tokens"]},
    )
    creators = sorted({film.creator for film in stage.slice.films.values()})
    makers = [Person("creator", number) for number in {0, *creators}]
    friends = [Person("collaborator", number) for number in range(money.COLLABORATORS)]
    console.print(
        f"{len(stage.slice.films)} films, {len(stage.slice.people)} people, {len(stage.slice.ratings):,} ratings "
        f"(MovieTweetings, MIT); creators are assigned by a hash\n"
    )
    early, late = (
        stage.slice.ratings[: len(stage.slice.ratings) // 2],
        stage.slice.ratings[len(stage.slice.ratings) // 2 :],
    )
    viewers = list(stage.viewers.values())
    before = chain.newest
    money.fund(stage, [*makers, *friends, *viewers])
    money.register(stage)
    engagement.sign_in(stage, viewers, "people sign in and allow")
    money.pay(stage, early, "people tip and buy")
    engagement.watch(stage, early, "people watch, feeds follow")
    engagement.farm(stage)
    engagement.a_like_and_its_feed(stage)
    rewards.close(stage, 1)
    rewards.claim(stage, makers)
    traded = shop.trade(stage)
    money.hand_on(stage, [film for film in stage.slice.films.values() if film.first_film is not None])
    money.pay(stage, late, "people pay, through a reorganisation", reorganise=3)
    engagement.watch(stage, late, "people watch on")
    rewards.close(stage, 2)
    rewards.claim(stage, makers)
    proposal = votes.pass_vote(stage)
    predicted_fee, taken_fee = votes.next_payment(stage, min(stage.works.values()))
    holders = {person.address: person for person in [*makers, *friends]}
    for contract in ("TimelockController", "RewardDistributor"):
        holders[stage.contracts[contract]] = makers[0]  # the platform's own shares: anybody may send what is due there
    predicted = money.predictions(stage, holders)
    ok = money.withdraw(stage, holders)
    console.print()
    report.print_feeds(stage)
    ok &= report.print_shop(stage, traded)
    ok &= report.print_money(stage, predicted, money.paid_out(stage), money.left(stage))
    ok &= report.print_rewards(stage, makers)
    ok &= report.print_vote(stage, proposal, predicted_fee, taken_fee)
    stage.facts["seconds"] = f"{time.monotonic() - started:.1f}"
    report.print_facts(stage)
    if chain.newest == before:
        console.print("\nthe story was told on this chain before: nothing was added to it")
    if ok:
        console.print("\nevery figure the database predicted is what the contract paid")
    pages = {
        "API": "docs",
        "pages": f"payouts/{_busiest(makers, predicted).address}",
        "shop": f"works/{stage.work_of(shop.film_on_sale(stage))}",
        "feed": "feed",
    }
    console.print("\n".join(f"{name:<6} {api_url}/{path}" for name, path in pages.items()))
    return 0 if ok else 1


def _busiest(makers: list[Person], predicted: Mapping[money.Key, int]) -> Person:
    """The creator with the most rows of the comparison."""
    rows = Counter(holder for _, _, holder, _ in predicted)
    return max(makers, key=lambda person: rows[person.address])


if __name__ == "__main__":
    sys.exit(main())
