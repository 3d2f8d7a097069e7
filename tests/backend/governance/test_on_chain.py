"""A vote from delegation to execution on the real contracts: the API's count equals the Governor's at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import encode

from backend.chain import encode_call
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.live import Live
from tests.conftest import Deployed

STATES = ("pending", "active", "canceled", "defeated", "succeeded", "queued", "expired", "executed")
"""OpenZeppelin's ProposalState, in its order."""
DAY = 86_400
TRP = 10**18


@dataclass
class House(Live):
    """Chain, mirror and API; `voters` have tokens."""

    client: Client

    def __post_init__(self) -> None:
        super().__post_init__()
        self.voters = list(self.info.manifest.parameters["genesisSupply"]["voters"])

    def send(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, Any]:
        """As Live.send, and mirrored."""
        receipt = super().send(sender, to, data, value)
        self.sync()
        return receipt

    def forward(self, seconds: int) -> None:
        """As Live.forward, final and mirrored."""
        super().forward(seconds)
        self.ask("evm_mine")
        self.sync()

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def shown(self, number: str) -> dict[str, Any]:
        """The proposal as the API shows it, after holding its state and tally against the Governor's."""
        found: dict[str, Any] = self.client.get(f"/v1/proposals/{number}").json()
        assert found["state"] == STATES[self.view("TroupeGovernor", "state", int(number))]
        against, for_, abstain = self.view("TroupeGovernor", "proposalVotes", int(number))
        assert found["tally"] | {"quorum": 0, "quorum_reached": 0} == {
            "for": str(for_),
            "against": str(against),
            "abstain": str(abstain),
            "quorum": 0,
            "quorum_reached": 0,
        }
        return found


@pytest.fixture
def house(deployed: Deployed, clean_db: DatabaseUrls, client: Client) -> House:
    return House(deployed, clean_db, client)


@pytest.mark.feature("G1", via="http")
@pytest.mark.feature("G2", via="http")
def test_a_vote_lowers_the_fee_and_every_step_agrees_with_the_governor(house: House) -> None:
    one, two, three = house.voters
    for voter in house.voters:
        house.sign(voter, house.post("/v1/delegations/intent", delegate=voter)["intent"])
    house.forward(2)
    action = {"contract": "RevenueLedger", "function": "setFeeBps", "arguments": ["200"]}
    made = house.post("/v1/proposals/intent", title="Lower the fee", body="To 2%.", proposer=one, actions=[action])
    assert made["words"] == ["Set the platform fee on payments to 2.00%"]
    house.sign(one, made["intent"])
    number = made["proposal_id"]

    found = house.shown(number)
    assert (found["state"], found["title"], found["body"]) == ("pending", "Lower the fee", "To 2%.")
    assert house.post(f"/v1/proposals/{number}/vote-intent", 409, support="for")["code"] == "proposal_state"

    house.forward(DAY + 1)
    snapshot = house.view("TroupeGovernor", "proposalSnapshot", int(number))
    assert house.shown(number)["tally"]["quorum"] == str(house.view("TroupeGovernor", "quorum(uint256)", snapshot))
    power = house.client.get(f"/v1/proposals/{number}/power/{one}").json()
    assert (power["votes"], power["voted"]) == (str(10_000_000 * TRP), "0")
    house.sign(one, house.post(f"/v1/proposals/{number}/vote-intent", support="for", reason="yes")["intent"])
    assert not house.shown(number)["tally"]["quorum_reached"]
    house.sign(two, house.post(f"/v1/proposals/{number}/vote-intent", support="for")["intent"])
    house.sign(three, house.post(f"/v1/proposals/{number}/vote-intent", support="against")["intent"])
    assert house.shown(number)["tally"]["quorum_reached"]
    votes = house.client.get(f"/v1/proposals/{number}/votes").json()["items"]
    assert [(vote["voter"], vote["support"]) for vote in votes] == [(three, "against"), (two, "for"), (one, "for")]
    assert votes[2]["reason"] == "yes"

    house.forward(7 * DAY)
    assert house.shown(number)["state"] == "succeeded"
    house.sign(three, house.post(f"/v1/proposals/{number}/queue-intent")["intent"])
    assert house.shown(number)["state"] == "queued"
    assert house.post(f"/v1/proposals/{number}/execute-intent", 409)["code"] == "proposal_not_yet"
    house.forward(2 * DAY + 1)
    assert house.client.get("/v1/policy").json()["platform_fee_bps"] == 250
    house.sign(two, house.post(f"/v1/proposals/{number}/execute-intent")["intent"])
    assert house.shown(number)["state"] == "executed"
    assert house.client.get("/v1/policy").json()["platform_fee_bps"] == 200
    assert house.view("RevenueLedger", "feeBps") == 200


@pytest.mark.feature("G1", via="chain")
def test_v15_a_description_that_is_no_text_is_decided_and_executed_like_any_other(house: House) -> None:
    """Made by direct call: NUL and bytes that are no UTF-8, of which the mirror's text shows but replacements."""
    one, two, _ = house.voters
    for voter in (one, two):
        house.sign(voter, house.post("/v1/delegations/intent", delegate=voter)["intent"])
    house.forward(2)
    call = encode_call("RevenueLedger", "setFeeBps", [150])
    types = ("address[]", "uint256[]", "bytes[]", "bytes")  # a string is encoded as bytes are
    said = encode(types, ([house.info.address("RevenueLedger")], [0], [call], b"Lower \xff\xc3 the\0 fee"))
    selector = encode_call("TroupeGovernor", "propose", [[], [], [], ""])[:4]
    governor = house.info.address("TroupeGovernor")
    house.send(one, governor, selector + said)

    (listed,) = house.client.get("/v1/proposals").json()["items"]
    number = listed["id"]
    assert house.shown(number)["title"] == "Lower \ufffd\ufffd the\ufffd fee"
    house.forward(DAY + 1)
    for voter in (one, two):
        house.sign(voter, house.post(f"/v1/proposals/{number}/vote-intent", support="for")["intent"])
    house.forward(7 * DAY)
    house.sign(one, house.post(f"/v1/proposals/{number}/queue-intent")["intent"])
    assert house.shown(number)["state"] == "queued"
    house.forward(2 * DAY + 1)
    house.sign(one, house.post(f"/v1/proposals/{number}/execute-intent")["intent"])
    assert house.shown(number)["state"] == "executed"
    assert house.view("RevenueLedger", "feeBps") == 150


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({"contract": "Treasury", "function": "send", "arguments": []}, "Treasury"),
        ({"contract": "RevenueLedger", "function": "setFee", "arguments": ["1"]}, "setFee"),
        ({"contract": "RevenueLedger", "function": "setFeeBps", "arguments": []}, "takes 1 arguments"),
        ({"contract": "RevenueLedger", "function": "setFeeBps", "arguments": ["many"]}, "setFeeBps"),
        ({"contract": "RevenueLedger", "function": "setFeeBps", "arguments": ["70000"]}, "setFeeBps"),
        ({"contract": "WorkRegistry", "function": "signal", "arguments": ["0xzz"]}, "actions.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["function"],
)
def test_v15_an_action_that_cannot_be_called_is_named(client: Client, action: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/proposals/intent", json={"title": "t", "actions": [action]})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "action_invalid"
    assert said in answer.json()["detail"]
