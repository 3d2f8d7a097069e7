"""The vote: token holders lower the platform fee, and the next payment uses it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from demo.money import PAYMENT, ref
from demo.rpc import words
from demo.stage import GAS, NATIVE, Stage

MNEMONIC = "test test test test test test test test test test test junk"
"""The development chain's public accounts; three of them were given tokens to vote with."""
VOTERS = (6, 7, 8)
NEW_FEE_BPS = 200
TITLE = "Lower the platform fee to 2%"
NEXT_PAYMENT = "0x" + keccak(text="troupe demo payment after the vote").hex()
"""The reference of the payment that shows the new fee."""
BODY = "Creators keep more of every payment. The fee goes from 2.50% to 2.00%."


def voters() -> list[LocalAccount]:
    Account.enable_unaudited_hdwallet_features()
    return [Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}") for index in VOTERS]


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def pass_vote(stage: Stage) -> str:
    """From delegation to execution, each step by the API's intents; returns the proposal's number."""
    people = voters()
    made = stage.api.post(
        "/v1/proposals/intent",
        title=TITLE,
        body=BODY,
        proposer=str(people[0].address),
        actions=[{"contract": "RevenueLedger", "function": "setFeeBps", "arguments": [str(NEW_FEE_BPS)]}],
    )
    number = str(made["proposal_id"])
    before = _find(stage, number)
    with stage.act("a vote lowers the platform fee", 0 if before and before["state"] == "executed" else 6) as tick:
        if not tick.new:
            return number
        _delegate(stage, people)
        tick()
        if before is None:
            _send(stage, people[0], made["intent"], "propose")
        tick()
        found = _state(stage, number)
        if found["state"] == "pending":
            _warp(stage, _seconds(found["votes_from"]) + 1)
        tick()
        if _state(stage, number)["state"] == "active":
            for person, support in zip(people, ("for", "for", "against"), strict=True):
                power = stage.api.get(f"/v1/proposals/{number}/power/{person.address}")
                if not int(power["voted"]):
                    answer = stage.api.post(f"/v1/proposals/{number}/vote-intent", support=support)
                    _send(stage, person, answer["intent"], f"vote {support}")
            _warp(stage, _seconds(_state(stage, number)["votes_until"]) + 1)
        tick()
        if _state(stage, number)["state"] == "succeeded":
            answer = stage.api.post(f"/v1/proposals/{number}/queue-intent")
            _send(stage, people[0], answer["intent"], "queue")
        tick()
        found = _state(stage, number)
        if found["state"] == "queued":
            _warp(stage, _seconds(found["executable_from"]) + 1)
            answer = stage.api.post(f"/v1/proposals/{number}/execute-intent")
            _send(stage, people[1], answer["intent"], "execute")
        tick()
    return number


def next_payment(stage: Stage, work_id: int) -> tuple[int, int]:
    """Pay a work, once, and read the fee that the contract took: (basis points predicted, basis points taken)."""
    body = {"work_id": work_id, "token": NATIVE, "amount": str(10**16), "kind": "tip", "ref": NEXT_PAYMENT}
    answer = stage.api.request("POST", "/v1/payments/intent", json=body)
    if not (logs := _paid_next(stage)):
        _send(stage, voters()[2], answer["intents"][0], "pay after the vote")
        logs = _paid_next(stage)
    amount, fee = words(logs[0]["data"])[:2]
    return int(answer["fee"]) * 10_000 // 10**16, fee * 10_000 // amount


def _paid_next(stage: Stage) -> list[dict[str, Any]]:
    """The payment after the vote, by its reference on chain."""
    return [log for log in stage.chain.logs(stage.contracts["RevenueLedger"], PAYMENT) if ref(log) == NEXT_PAYMENT]


def _delegate(stage: Stage, people: list[LocalAccount]) -> None:
    token = stage.contracts["TroupeToken"]
    fresh = False
    for person in people:
        if not stage.chain.view(token, "getVotes(address)", str(person.address))[0]:
            answer = stage.api.post("/v1/delegations/intent", delegate=str(person.address))
            _send(stage, person, answer["intent"], "delegate to itself")
            fresh = True
    if fresh:
        stage.chain.mine(2)  # votes count from the second after they were delegated


def _find(stage: Stage, number: str) -> dict[str, Any] | None:
    items = stage.api.get("/v1/proposals", limit=100)["items"]
    return next((item for item in items if item["id"] == number), None)


def _state(stage: Stage, number: str) -> dict[str, Any]:
    found: dict[str, Any] = stage.api.get(f"/v1/proposals/{number}")
    return found


def _send(stage: Stage, person: LocalAccount, intent: dict[str, Any], note: str) -> list[dict[str, Any]]:
    receipts = stage.chain.send([stage.chain.sign(person, intent, GAS["default"], note)])
    stage.mirrored()
    return receipts


def _warp(stage: Stage, timestamp: int) -> None:
    stage.chain.warp_to(timestamp)
    stage.mirrored()
