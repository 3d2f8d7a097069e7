"""The reward acts: an epoch is over by the chain's clock, its root is published, its window passes, creators claim."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from demo.people import Person
from demo.stage import GAS, NATIVE, Stage

PATIENCE_S = 60.0


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def _await(stage: Stage, epoch: int, wanted: set[str], what: str) -> list[dict[str, Any]]:
    """Wait until every stream has a root of an epoch in one of these states; mines a block now and then so that time
    passes."""
    streams = {stream["token"] for stream in stage.api.get(f"/v1/rewards/{NATIVE}")["streams"]}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = stage.api.get(f"/v1/rewards/epochs/{epoch}")["epoch"]
        roots: list[dict[str, Any]] = answer["roots"]
        there = {root["token"] for root in roots if root["status"] in wanted}
        if answer["state"] == "scored" and there == streams:  # the streams' roots are made one after the other
            return roots
        if time.monotonic() > deadline:
            states = ", ".join(f"{root['symbol']} {root['status']}" for root in roots) or answer["state"]
            raise TimeoutError(f"epoch {epoch} was not {what} within {PATIENCE_S:.0f} s ({states})")
        time.sleep(0.5)
        stage.chain.mine()


def close(stage: Stage, epoch: int) -> None:
    """Let an epoch end by the chain's clock, and see its roots through publication and the challenge window."""
    with stage.act(f"epoch {epoch} closes, is published, final", 3) as tick:
        before = stage.chain.newest
        current = stage.api.get("/v1/rewards/epochs")["current"]
        if current["epoch"] <= epoch:
            while current["epoch"] < epoch:  # an epoch that nothing happened in
                stage.chain.warp_to(_seconds(current["ends_at"]) + 1)
                stage.mirrored()
                current = stage.api.get("/v1/rewards/epochs")["current"]
            stage.chain.warp_to(_seconds(current["ends_at"]) + 1)
            stage.mirrored()
        tick()
        published = {"pending", "final", "nothing_due"}
        roots = _await(stage, epoch, published, "published")
        tick()
        ends = [_seconds(root["finalizable_at"]) for root in roots if root["status"] == "pending"]
        if ends:
            stage.chain.warp_to(max(ends) + 1)
            stage.mirrored()
        _await(stage, epoch, {"final", "nothing_due"}, "made final")
        tick()
        tick.new = stage.chain.newest != before


def claim(stage: Stage, people: list[Person]) -> None:
    """Creators claim what the roots award them."""
    due = [(person, stage.api.get(f"/v1/rewards/{person.address}")["claim_all"]) for person in people]
    todo = [(person, intent) for person, intent in due if intent is not None]
    with stage.act("creators claim their rewards", len(todo)) as tick:
        stage.send([stage.sign(person, intent, GAS["default"], "claim rewards") for person, intent in todo], tick)


def share_of(stage: Stage, epoch: int, account: str) -> tuple[float, int]:
    """(percent of the voices, creators with a voice) of an account in an epoch."""
    detail = stage.api.get(f"/v1/rewards/epochs/{epoch}", limit=1_000)
    mine = next((score for score in detail["scores"] if score["creator"] == account), None)
    return (mine["share_bps"] / 100 if mine else 0.0), detail["creators"]
