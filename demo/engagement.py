"""The engagement acts: people allow what they want to, watch, and see their feeds change; a farm does what farms do."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from demo.api import in_parallel
from demo.films import Film, Rating
from demo.money import draft_of
from demo.people import Person
from demo.stage import GAS, Stage

NAMESPACE = uuid.UUID("3b9ac1c4-64a5-5f0e-9d8a-6a0c2f3f2f11")
WINDOWS = 8
FEEDS_A_WINDOW = 25
FARM = 1_000
FARM_EVENTS = 6
"""What each fake account sends."""
FARM_FILM = Film(number=0, title="Ten Seconds of Nothing", genres=("Short",), first_film=None)
MINUTE_MS = 60_000

Event = dict[str, Any]


def events_of(rating: Rating, work_id: int) -> list[Event]:
    """The fixed table from stars to engagement: what somebody who gave these stars would have done."""
    match rating.stars:
        case 9 | 10:
            done = [("watch", 100 * MINUTE_MS, 9_600), ("like", 0, 0)]
        case 7 | 8:
            done = [("watch", 97 * MINUTE_MS, 9_300)]
        case 5 | 6:
            done = [("watch", 58 * MINUTE_MS, 5_500)]
        case 3 | 4:
            done = [("skip", 20_000, 40)]
        case _:
            done = [("skip", 3_000, 5), ("less_like_this", 0, 0)]
    return [_event(f"{rating.person} {rating.film} {rating.at}", work_id, *each) for each in done]


def _event(who_and_what: str, work_id: int, kind: str, duration_ms: int, completion_bps: int) -> Event:
    event: Event = {
        "id": str(uuid.uuid5(NAMESPACE, f"{who_and_what} {kind}")),
        "kind": kind,
        "work_id": work_id,
        "at": "2013-06-01T12:00:00Z",
    }
    if kind in ("watch", "skip"):
        event |= {"duration_ms": duration_ms, "completion_bps": completion_bps}
    return event


def sign_in(stage: Stage, people: Sequence[Person], title: str) -> None:
    """Everybody signs in with their wallet and allows the two purposes that a personal feed needs."""

    def one(person: Person) -> bool:
        answers = stage.api.get("/v1/consents", person)["items"]
        given = {item["purpose"] for item in answers if item["granted"]}
        missing = [purpose for purpose in ("behaviour", "content_taste") if purpose not in given]
        for purpose in missing:
            stage.api.put(f"/v1/consents/{purpose}", person, granted=True)
        return bool(missing)

    with stage.act(title, len(people)) as act:
        act.new = any(in_parallel(one, list(people), act))


def watch(stage: Stage, ratings: Sequence[Rating], title: str) -> None:
    """People watch in the order of the data while feeds are served; what was sent before is a duplicate."""
    works = stage.works
    size = -(-len(ratings) // WINDOWS)
    accepted = duplicates = 0
    latencies: list[float] = stage.facts.setdefault("feed latencies", [])
    with stage.act(title, len(ratings)) as act:
        for start in range(0, len(ratings), size):
            window = ratings[start : start + size]
            batches: dict[int, list[Event]] = defaultdict(list)
            for rating in window:
                batches[rating.person] += events_of(rating, works[rating.film])
            for answer in in_parallel(partial(_send, stage), list(batches.items())):
                accepted += answer["accepted"]
                duplicates += answer["duplicate"]
            latencies += in_parallel(partial(_timed_feed, stage), list(batches)[:FEEDS_A_WINDOW])
            for _ in window:
                act()
        act.new = accepted > 0
    stage.facts["events accepted"] = stage.facts.get("events accepted", 0) + accepted
    if duplicates:
        again = "events sent again, counted once"
        stage.facts[again] = stage.facts.get(again, 0) + duplicates


def _send(stage: Stage, batch: tuple[int, list[Event]]) -> Any:
    number, events = batch
    answer = stage.api.post("/v1/engagement", Person("viewer", number), events=events)
    if answer["refused"] or answer["counted_as"] != "person":
        raise RuntimeError(f"viewer {number}: the API refused engagement that it should take: {answer}")
    return answer


def _timed_feed(stage: Stage, number: int) -> float:
    started = time.perf_counter()
    stage.api.get("/v1/feed", Person("viewer", number), limit=20)
    return time.perf_counter() - started


def farm(stage: Stage) -> None:
    """A thousand fake accounts sign in and watch one work of their owner's to the end, again and again."""
    owner = Person("farmer", 0)
    size = max(20, round(FARM * len(stage.slice.people) / 1_000))
    stage.facts["fake accounts"] = size
    work_id = stage.work_of(FARM_FILM)
    if not work_id:
        stage.chain.batch("anvil_setBalance", [[owner.address, hex(10**18)]])
        intents = draft_of(stage, owner, FARM_FILM, 0, [])
        stage.send([stage.sign(owner, intents["register"], GAS["register"], "register the farm's work")])
        work_id = stage.work_of(FARM_FILM)
    accounts = [Person("farmer", number) for number in range(1, size + 1)]
    sign_in(stage, accounts, "a farm of fake accounts signs in")
    with stage.act("the farm watches its own work", size) as act:
        act.new = any(in_parallel(partial(_farm_one, stage, work_id), accounts, act))


def _farm_one(stage: Stage, work_id: int, person: Person) -> bool:
    """Send what one account pretends; whether any of it was new."""
    events = [_event(f"farm {person.number} {i}", work_id, "watch", 600_000, 10_000) for i in range(3)]
    events += [_event(f"farm {person.number}", work_id, kind, 0, 0) for kind in ("like", "replay", "save")]
    return bool(stage.api.post("/v1/engagement", person, events=events)["accepted"])


def a_like_and_its_feed(stage: Stage) -> None:
    """One person's feed before and after one like, with the reasons as the API gives them."""
    person = Person("viewer", stage.slice.people[0])
    deadline = time.monotonic() + 60
    while True:
        before = stage.api.get("/v1/feed", person, limit=5)
        if before["model_version"] is not None or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    favourite = next((item for item in before["items"] if item["reason"] != "taste"), before["items"][-1])
    event = _event(f"{person.number} likes {favourite['work_id']}", favourite["work_id"], "like", 0, 0)
    event["at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stage.api.post("/v1/engagement", person, events=[event])
    after = stage.api.get("/v1/feed", person, limit=5)
    stage.facts["liked"] = (person.name, favourite["title"], before["items"], after["items"])
