"""A request example for every operation of OpenAPI that takes anything: what the reference shows, generators take over
and a test sends (tests/backend/edge/test_request_examples.py).

A parameter's example is found by its name in PARAMETERS; else it is the first of its own `examples`, its default, or
the first of its values. A body's stands in BODIES under the operation's id, or in its model as
`json_schema_extra={"examples": [...]}`.
"""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

PERSON: Final = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""The first account of every development chain; its key is known to everybody, so examples can be signed."""
OTHER: Final = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NATIVE: Final = "0x" + "00" * 20
SOME_UUID: Final = "0199f0c2-7f3b-7c10-a2b4-d6e8f0a1b2c3"
SOME_HASH: Final = "0x" + "5e" * 32
LATER: Final = "2030-01-01T00:00:00Z"

PARAMETERS: Final[Json] = {
    **dict.fromkeys(("address", "account", "owner", "creator", "seller", "user"), PERSON),
    **dict.fromkeys(("work_id", "class_id", "item_id", "asset_id", "token_id", "listing_id", "plan_id"), 1),
    **dict.fromkeys(
        ("session_id", "key_id", "draft_id", "record_id", "export_id", "webhook_id", "slate_id"), SOME_UUID
    ),
    "erasure_id": SOME_UUID,
    "part": "media",
    "licence_id": 1,
    "epoch": 1,
    "proposal_id": "41258",
    "order_hash": SOME_HASH,
    "digest": SOME_HASH[2:],
    "cid": "bafkreigu6cpfywxztismpyyezj4zputmwaeqc2l54cfetpqni2vvqonwcq",
    "message": "msg_0199f0c27f3b7c10a2b4d6e8f0a1b2c3",
    "topic": ["chain", "work:1"],
    "min_duration_ms": 60_000,
    "max_duration_ms": 600_000,
    "novelty": 0.6,
    "energy": 0.4,
    "Range": "bytes=0-1023",
}
WITHOUT: Final = frozenset({"cursor", "last-event-id", "If-Range", "If-None-Match"})
"""Parameters that only an answer before can give."""

_ORDER: Final[Json] = {
    "seller": PERSON,
    "collection": "items",
    "token_id": "1",
    "amount": "2",
    "token": NATIVE,
    "price": "1000000000000000",
    "taker": NATIVE,
    "counter": "0",
    "salt": "20261121",
    "deadline": 1893456000,
}

BODIES: Final[dict[str, Json]] = {
    "add_picture": {"file": "the bytes of a PNG, JPEG or WebP"},
    "make_wish": {"text": "something calmer, under 20 minutes, not horror"},
    "create_nonce": {"address": PERSON},
    "verify_sign_in": {
        "message": "127.0.0.1:8000 wants you to sign in with your Ethereum account:\n"
        f"{PERSON}\n\nSign in to Troupe.\n\nURI: http://127.0.0.1:8000\nVersion: 1\nChain ID: 31337\n"
        "Nonce: 3f1c0a9be2774d5c8a6b0d1e2f3a4b5c\nIssued At: 2026-11-21T20:00:00Z",
        "signature": "0x" + "1b" * 65,
    },
    "mint_character": {"name": "Hero", "to": OTHER},
    "verify_receipt": {"receipt": "{}", "salt": "0x" + "00" * 32, "commitment": SOME_HASH},
    "set_consent": {"granted": True},
    "make_delegation_intent": {"delegate": PERSON},
    "send_engagement": {
        "events": [
            {
                "id": SOME_UUID,
                "kind": "dwell",
                "work_id": 1,
                "at": "2026-11-21T20:00:00Z",
                "duration_ms": 93000,
                "completion_bps": 8700,
            }
        ]
    },
    "create_key": {"name": "Stage lights", "scopes": ["works:read", "live:read"], "lifetime_days": 90},
    "rotate_key": {"lifetime_days": 90, "overlap_s": 86400},
    "create_licence": {"title": "Remixes with a share", "derivatives": True, "commercial": True, "min_share_bps": 1000},
    "create_listing": {"kind": "edition", "asset_id": "1", "price": "1000000000000000", "max_supply": "20"},
    "buy_of_listing": {"qty": "1", "buyer": OTHER, "max_total": "1000000000000000"},
    "rent_of_listing": {"duration_s": 7200, "buyer": OTHER},
    "reprice_listing": {"price": "2000000000000000"},
    "erase_me": {"confirm": "erase"},
    "set_personalization": {"enabled": True},
    "set_restriction": {"frozen": False},
    "set_packaging": {"variants": [{"title": "The empty stage", "preview": "A curtain rises, and nobody is there."}]},
    "import_taste": {
        "format": "troupe-taste/1",
        "issuer": "https://other.example",
        "issued_at": "2026-11-21T20:00:00Z",
        "public_key": "0x" + "00" * 32,
        "chain_id": 31337,
        "sliders": {"novelty_millionths": 600000, "energy_millionths": None},
        "likings": [],
        "tags": [],
        "signature": "0x" + "00" * 64,
    },
    "make_configuration_known": {"policy": {"novelty": 0.2}},
    "declare_showing": {"age": 12, "territory": ["DE", "FR"], "shown_until": LATER},
    "decide_on_work": {"state": "limited", "reason": "Shows violence in its first minutes."},
    "draft_order": {"collection": "items", "token_id": "1", "price": "1000000000000000", "deadline": LATER},
    "post_order": {"order": _ORDER, "signature": "0x" + "1b" * 65},
    "fill_order": {"qty": "1", "buyer": OTHER},
    "create_payment_intent": {"work_id": 1, "amount": "10000000000000000", "kind": "tip"},
    "subscribe_by_plan": {"periods": 1, "buyer": OTHER},
    "make_proposal_intent": {
        "title": "Lower the fee",
        "body": "Creators keep more of each payment.",
        "proposer": PERSON,
        "actions": [{"contract": "RevenueLedger", "function": "setFeeBps", "arguments": ["200"]}],
    },
    "make_vote_intent": {"support": "for", "reason": "It helps small works."},
    "create_webhook": {"url": "https://receiver.example/troupe", "types": ["payment.received"], "work_ids": [1]},
    "update_webhook": {"enabled": True, "drop_waiting": False},
    "rotate_webhook_secret": {"overlap_hours": 24},
    "create_draft": {
        "file": "The curtain rises on an empty stage.\n",
        "metadata": {"title": "Act one", "kind": "story", "ai_label": "human"},
    },
    "approve_derivative": {"deriver": OTHER, "content_hash": SOME_HASH},
    "create_class": {"max_supply": 200, "ticket": True},
    "contest_work": {"salt": SOME_HASH},
    "create_item": {"name": "Print", "max_supply": "50", "per_account_cap": 2},
    "create_plan": {"price": "1000000000000000", "period_s": 2592000},
    "create_reassign_intent": {"recipients": [{"account": OTHER, "weight": "250000"}]},
}
"""Operation id -> the JSON body, or the parts of a form."""


def add_examples(schema: Json) -> None:
    """Give every parameter and body of OpenAPI its example."""
    models = schema["components"]["schemas"]
    for operation in (each for methods in schema["paths"].values() for each in methods.values()):
        for parameter in operation.get("parameters", []):
            example = _of_parameter(parameter, models)
            if example is not None:
                parameter["example"] = example
        for content in operation.get("requestBody", {}).get("content", {}).values():
            example = BODIES.get(operation["operationId"]) or _first_of(_resolved(content["schema"], models))
            if example is not None:
                content["example"] = example


def _of_parameter(parameter: Json, models: Json) -> Any:
    name = parameter["name"]
    if name in WITHOUT:
        return None
    if name in PARAMETERS:
        return PARAMETERS[name]
    schema = parameter["schema"]
    for choice in [schema, *schema.get("anyOf", [])]:
        plain = _resolved(choice, models)
        for found in (_first_of(plain), plain.get("default"), *plain.get("enum", [])):
            if found is not None:
                return found
    return None


def _first_of(schema: Json) -> Any:
    return next(iter(schema.get("examples", [])), None)


def _resolved(schema: Json, models: Json) -> Json:
    reference = schema.get("$ref")
    found: Json = models[reference.rpartition("/")[2]] if reference else schema
    return found
