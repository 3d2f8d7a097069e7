"""The money acts: register the works, pay for them, hand a share on, withdraw up the graph of derivations."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from demo.api import ApiError, in_parallel
from demo.films import Film, Rating
from demo.people import Person
from demo.rpc import Reverted, selector, word, words
from demo.stage import GAS, NATIVE, Stage

ETHER = 10**18
LICENCE = {
    "title": "Derivations welcome, a tenth upstream",
    "min_share_bps": 1_000,
    "commercial": True,
    "derivatives": True,
    "attribution": True,
}
ROYALTY_BPS = 1_000
TIP, SALE = 1, 2
TIP_WEI = 10**15
PRICE_USD = 5 * 10**6
GIFT_BPS = 2_500
COLLABORATORS = 10
BATCH = 200
PAYMENT = "PaymentReceived(uint64,address,address,uint256,uint256,uint8,bytes32)"
REASSIGNED = "ShareReassigned(uint64,address,uint256,uint256,bytes32,bytes32,bytes32,(bytes32,uint256)[])"
WITHDRAWN = "Withdrawn(uint64,address,address,uint32,uint256,uint256)"


Key = tuple[int, int, str, str]
"""A row of the comparison: work, split version, holder, token."""


@dataclass(frozen=True)
class Left:
    """What the ledger holds of one token when everybody has withdrawn, beside the bound that I5 allows."""

    token: str
    received: int
    paid: int
    balance: int
    bound: int
    """Wei of rounding: one for each edge of a work and each leaf of a split version that the token reached."""

    @property
    def holds(self) -> bool:
        return self.balance == self.received - self.paid and 0 <= self.balance <= self.bound


def creator_of(film: Film) -> Person:
    return Person("creator", film.creator)


def payment_ref(kind: int, rating: Rating) -> str:
    """The reference that a payment carries on chain: the same rating always pays under the same one."""
    return "0x" + keccak(text=f"troupe demo {kind} {rating.person} {rating.film} {rating.at}").hex()


def fund(stage: Stage, people: list[Person]) -> None:
    """Give every wallet that is empty one ether out of nothing, as only the development chain can."""
    balances = stage.chain.batch("eth_getBalance", [[person.address, "latest"] for person in people])
    empty = [person for person, balance in zip(people, balances, strict=True) if int(balance, 16) == 0]
    with stage.act("people get their first coins", len(empty)) as tick:
        stage.chain.batch("anvil_setBalance", [[person.address, hex(ETHER)] for person in empty])
        for _ in empty:
            tick()


def register(stage: Stage) -> None:
    """Every film becomes a work of its creator; first films before the sequels that derive from them."""
    known = stage.works
    films = [film for film in stage.slice.films.values() if not known[film.number]]
    licence = _licence(stage) if films else 0
    with stage.act("creators register their works", len(films)) as tick:
        for generation in (False, True):
            part = [film for film in films if (film.first_film is not None) is generation]
            works = stage.works
            drafts = in_parallel(partial(_draft, stage, licence, works), part)
            sent = [
                stage.sign(creator_of(film), intents["register"], GAS["register"], f"register {film.title}")
                for film, intents in zip(part, drafts, strict=True)
            ]
            stage.send(sent, tick)
    stage.facts["works"] = len(stage.slice.films)
    stage.facts["derivations"] = sum(film.first_film is not None for film in stage.slice.films.values())


def _licence(stage: Stage) -> int:
    """The licence of the story, created once by the first creator."""
    author = Person("creator", 0)
    for _ in range(2):
        listed = stage.api.get("/v1/licences", limit=100)["items"]
        mine = [item["licence_id"] for item in listed if item["creator"] == author.address]
        if mine:
            return int(mine[0])
        intent = stage.api.post("/v1/licences/intent", author, **LICENCE)["intent"]
        stage.send([stage.sign(author, intent, GAS["default"], "create the licence")])
    raise RuntimeError("the licence was created and the API does not list it")


def _draft(stage: Stage, licence: int, works: dict[int, int], film: Film) -> Any:
    parents = [{"work_id": works[film.first_film], "share_bps": ROYALTY_BPS}] if film.first_film else []
    return draft_of(stage, creator_of(film), film, licence, parents)


def draft_of(stage: Stage, person: Person, film: Film, licence: int, parents: list[dict[str, int]]) -> Any:
    """The intents that register a film for a person; the draft is made if it is not there yet."""
    metadata = {
        "title": film.title,
        "kind": "video",
        "licence_id": licence,
        "ai_label": "human",
        "tags": list(film.genres),
        "parents": parents,
    }
    mine = stage.api.get("/v1/works/drafts", person, limit=100)["items"]
    wanted = "0x" + film.content_hash.hex()
    draft = next((item for item in mine if item["content_hash"] == wanted), None)
    if draft is None:
        draft = stage.api.request(
            "POST",
            "/v1/works/drafts",
            person,
            files={"file": (f"{film.number}.txt", film.card, "text/plain")},
            data={"metadata": json.dumps(metadata)},
        )
    return stage.api.get(f"/v1/works/drafts/{draft['id']}/intent", person)


def pay(stage: Stage, ratings: Sequence[Rating], title: str, *, reorganise: int = 0) -> None:
    """Everybody tips the first of these films that they rated 8 or more, and buys the first that they rated 10.

    With `reorganise`, that many blocks are replaced in the middle, and the payments that were in them are sent again,
    the same bytes, as wallets do.
    """
    ledger = stage.contracts["RevenueLedger"]
    paid = {ref(log) for log in stage.chain.logs(ledger, PAYMENT)}
    works = stage.works
    tips = [r for r in _first_of_each(r for r in ratings if r.stars >= 8) if payment_ref(TIP, r) not in paid]
    sales = [r for r in _first_of_each(r for r in ratings if r.stars == 10) if payment_ref(SALE, r) not in paid]
    usd = stage.tokens["mUSD"]["address"]
    with stage.act(title, len(tips) + len(sales)) as tick:
        need: dict[Person, int] = defaultdict(int)
        for rating in sales:
            need[Person("viewer", rating.person)] += PRICE_USD
        give_dollars(stage, need)
        jobs = [(TIP, r) for r in tips] + [(SALE, r) for r in sales]
        for start in range(0, len(jobs), BATCH):
            part = jobs[start : start + BATCH]
            intents = in_parallel(partial(_payment, stage, works, usd), part)
            sent = [
                stage.sign(Person("viewer", rating.person), intent, GAS["pay"], f"pay film {rating.film}")
                for (_, rating), steps in zip(part, intents, strict=True)
                for intent in steps
            ]
            middle = reorganise and start <= len(jobs) // 2 < start + BATCH
            if middle:
                stage.chain.mine(reorganise)  # so that what others sent before lies deeper than what is replaced
            stage.send(sent)
            if middle:
                again = stage.chain.reorganise(reorganise)
                stage.mirrored()
                stage.facts["reorganisation"] = f"{reorganise} blocks replaced, {again} transactions sent again"
            for _ in part:
                tick()


def _first_of_each(ratings: Iterable[Rating]) -> list[Rating]:
    """Each person's first rating among these."""
    first: dict[int, Rating] = {}
    for rating in ratings:
        first.setdefault(rating.person, rating)
    return list(first.values())


def _payment(stage: Stage, works: dict[int, int], usd: str, job: tuple[int, Rating]) -> list[dict[str, Any]]:
    kind, rating = job
    person = Person("viewer", rating.person)
    body = {
        "work_id": works[rating.film],
        "token": usd if kind == SALE else NATIVE,
        "amount": str(PRICE_USD if kind == SALE else TIP_WEI * rating.stars),
        "kind": "sale" if kind == SALE else "tip",
        "ref": payment_ref(kind, rating),
        "payer": person.address,
    }
    answer = stage.api.request("POST", "/v1/payments/intent", json=body)
    return list(answer["intents"])


def give_dollars(stage: Stage, need: Mapping[Person, int]) -> None:
    """Mint test dollars for those who need as many; on the development chain anybody may."""
    usd = stage.tokens["mUSD"]["address"]
    bank = Person("creator", 0)
    mints = []
    for person, amount in need.items():
        if stage.chain.view(usd, "balanceOf(address)", person.address)[0] < amount:
            data = selector("mint(address,uint256)") + word(person.address) + word(amount)
            intent = {"to": usd, "data": data, "value": "0", "chainId": stage.api.chain_id}
            mints.append(stage.sign(bank, intent, GAS["pay"], f"mint test dollars for {person.name}"))
    stage.send(mints)


def ref(log: dict[str, Any]) -> str:
    """The reference that a payment's event carries."""
    return "0x" + words(log["data"])[-1].to_bytes(32, "big").hex()


def hand_on(stage: Stage, films: list[Film]) -> None:
    """Each of these films' creators gives a quarter of the work to a collaborator, by a signature of their own."""
    ledger = stage.contracts["RevenueLedger"]
    moved = {int(log["topics"][1], 16) for log in stage.chain.logs(ledger, REASSIGNED)}
    works = stage.works
    todo = [film for film in films if works[film.number] not in moved]
    with stage.act("creators hand a quarter on", len(todo)) as tick:
        for film in todo:
            creator, friend = creator_of(film), Person("collaborator", film.number % COLLABORATORS)
            split = stage.api.get(f"/v1/works/{works[film.number]}/split")["live"]
            share = int(split["total_weight"]) * GIFT_BPS // 10_000
            answer = stage.api.post(
                f"/v1/works/{works[film.number]}/reassign-intent",
                creator,
                recipients=[{"account": friend.address, "weight": str(share)}],
            )
            note = f"hand on a quarter of {film.title}"
            stage.send([stage.sign(creator, intent, GAS["settle"], note) for intent in answer["intents"]], tick)


def predictions(stage: Stage, holders: Mapping[str, Person]) -> dict[Key, int]:
    """What the database says each key gets in all: what was withdrawn before, and what a withdrawal will pay."""
    predicted: dict[Key, int] = defaultdict(int)
    for address, claims in zip(holders, in_parallel(partial(_claims, stage), list(holders)), strict=True):
        for claim in claims:
            predicted[claim["work_id"], claim["version"], address, claim["token"]["address"]] += int(claim["amount"])
    for key, amount in paid_out(stage).items():
        predicted[key] += amount
    return dict(predicted)


def withdraw(stage: Stage, holders: Mapping[str, Person]) -> bool:
    """Everything due to each address is settled and withdrawn; `holders` says whose wallet pays the gas for it.

    A holder whose withdrawal the contract refuses, or whose books the API cannot read afterwards, is said and left: the
    comparison that follows names what it was about. True when there was none.
    """
    well = True
    claims = dict(zip(holders, in_parallel(partial(_claims, stage), list(holders)), strict=True))
    owing = {
        address: person
        for address, person in holders.items()
        if any(int(claim["amount"]) > 0 for claim in claims[address])
    }
    with stage.act("holders withdraw up the graph", len(owing)) as tick:
        for address, person in owing.items():
            try:
                _withdraw_all(stage, address, person)
            except (Reverted, ApiError) as error:
                stage.console.print(f"[red]not all was withdrawn for {address}:[/] {error}")
                stage.mirrored()
                well = False
            tick()
    return well


def _withdraw_all(stage: Stage, address: str, person: Person) -> None:
    """Send what the API proposes until nothing is due to the address any more."""
    while intents := stage.api.get(f"/v1/payouts/{address}/claims", limit=100)["intents"]:
        stage.send([stage.sign(person, intent, GAS["settle"], intent["description"]) for intent in intents])


def _claims(stage: Stage, address: str) -> list[dict[str, Any]]:
    """All claims of an address that something is due on; for books that do not add up what is missing in them."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        try:
            page = stage.api.request("GET", f"/v1/payouts/{address}/claims", params={"limit": 100} | cursor)
        except ApiError as error:
            if error.code != "books_overdrawn":
                raise
            said = error.problem  # less is due than nothing: the comparison will name it
            return [said | {"token": {"address": said["token"]}, "amount": f"-{said['overdrawn']}"}]
        found += [claim for claim in page["items"] if int(claim["amount"])]
        if not page["next"]:
            return found
        cursor = {"cursor": page["next"]}


def paid_out(stage: Stage) -> dict[Key, int]:
    """What the contract has paid, from its own events: key = (work, version, holder, token)."""
    paid: dict[Key, int] = defaultdict(int)
    for log in stage.chain.logs(stage.contracts["RevenueLedger"], WITHDRAWN):
        work, account, token = (int(t, 16) for t in log["topics"][1:])
        version, _, amount = words(log["data"])
        paid[work, version, _address(account), _address(token)] += amount
    return dict(paid)


def _address(value: int) -> str:
    return to_checksum_address(value.to_bytes(20, "big"))


OPENED = "EdgeOpened(uint64,uint64,uint8,uint16,bool)"
ACTIVATED = "SplitActivated(uint64,uint32,bytes32,uint256,bytes32)"


def left(stage: Stage) -> list[Left]:
    """What the ledger still holds of each token that was paid, by its own events and balances.

    The bound is I5's: one base unit for each edge and each leaf of a version. Every reassignment of this story turns
    one leaf into two, so leaves of a work's version v are at most v + 1 and the platform's own count on top.
    """
    ledger = stage.contracts["RevenueLedger"]
    received: dict[str, int] = defaultdict(int)
    for log in stage.chain.logs(ledger, PAYMENT):
        received[_address(int(log["topics"][2], 16))] += words(log["data"])[0]
    paid: dict[str, int] = defaultdict(int)
    for (_, _, _, token), amount in paid_out(stage).items():
        paid[token] += amount
    edges = len(stage.chain.logs(ledger, OPENED))
    leaves = sum(int(log["topics"][2], 16) + 1 for log in stage.chain.logs(ledger, ACTIVATED))
    found = []
    for token, total in sorted(received.items()):
        native = int(token, 16) == 0
        balance = stage.chain.balance(ledger) if native else stage.chain.view(token, "balanceOf(address)", ledger)[0]
        found.append(Left(token=token, received=total, paid=paid[token], balance=balance, bound=edges + leaves))
    return found
