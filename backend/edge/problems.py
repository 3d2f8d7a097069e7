"""Which problems an operation can answer, by their codes of docs/errors.md: OpenAPI names them, status by status.

What follows from who may call an operation and what it takes is worked out here; what is its own stands in OWN. A test
client fails on a code that is not named (tests/backend/conftest.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from backend import deps
from backend.edge.idempotency import NOT_FOR
from backend.edge.quotas import SAFE_METHODS, route_class
from backend.edge.routing import calls
from backend.errors import MEDIA_TYPE

Json = dict[str, Any]
ERRORS: Final = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW: Final = re.compile(r"^\| `(\w+)` \| (\d{3}(?:, \d{3})*) \| (.+?) \|", re.MULTILINE)

_ASSET: Final = "asset_not_found work_not_found"
_REGISTRATION: Final = (
    "content_registered work_too_many_parents work_parent_twice work_parent_not_active work_too_many_edges"
    " work_upstream_too_high parent_unknown licence_unknown licence_forbids_derivatives licence_expired"
    " licence_share_alike licence_not_commercial licence_no_training approval_missing share_too_low consent_invalid"
)
_SELLABLE: Final = (
    "asset_not_found work_not_found work_stopped token_not_allowed order_expired quantity_invalid order_uncovered"
    " character_locked character_rented not_the_owner ticket_used asset_expired"
)
_BUYER: Final = "buyer_unknown offer_closed price_changed seller_must_approve"
OWN: Final[dict[str, str]] = {
    "verify_sign_in": "sign_in_malformed sign_in_wrong_domain sign_in_wrong_uri sign_in_wrong_chain sign_in_nonce"
    " sign_in_expired sign_in_too_early sign_in_bad_signature erasure_under_way",
    "create_visitor": "already_signed_in",
    "revoke_session": "not_found",
    "create_key": "too_many_keys wallet_required",
    "rotate_key": "not_found key_ended wallet_required",
    "revoke_key": "not_found",
    **dict.fromkeys(("download_receipt", "get_receipt_proof"), "not_found"),
    **dict.fromkeys(("get_export", "delete_export", "get_erasure", "download_erasure_receipt"), "not_found"),
    "download_export": "not_found export_not_ready",
    "erase_me": "fresh_sign_in_required",
    **dict.fromkeys(("get_work", "get_provenance", "get_standing", "get_access", "get_showing"), "work_not_found"),
    "declare_showing": "work_not_found not_the_owner",
    "decide_on_work": "work_not_found",
    "get_split": "work_not_found cursor_void",
    "get_licence": "licence_not_found",
    **dict.fromkeys(("list_items", "list_classes", "list_characters", "list_plans"), "work_not_found"),
    **dict.fromkeys(("get_item", "list_item_holders", "get_class", "get_character", "get_plan"), "asset_not_found"),
    "get_listing": "listing_not_found",
    "get_order": "order_not_found",
    "get_content": "content_not_found range_not_satisfiable",
    "create_draft": f"{_REGISTRATION} invalid unsupported_media_type form_parts metadata_too_large upload_too_large"
    " media_type_refused",
    "get_draft": "draft_not_found",
    "get_draft_file": "draft_not_found content_not_found",
    "get_registration_intent": f"{_REGISTRATION} draft_not_found draft_registered content_not_found",
    "approve_derivative": "work_not_found not_the_owner",
    "contest_work": "work_not_found work_revoked commitment_missing commitment_not_older claim_dismissed dispute_ruled"
    " dispute_over bond_short",
    "create_licence": "metadata_too_large",
    "create_item": "work_not_found not_the_owner window_invalid image_unknown metadata_too_large",
    "create_class": "work_not_found not_the_owner platform_unknown",
    "mint_character": f"{_ASSET} not_the_owner work_stopped platform_only not_enough_left image_unknown"
    " metadata_too_large buyer_unknown",
    "check_in_ticket": "asset_not_found character_locked not_a_ticket not_the_organiser ticket_used",
    "create_listing": f"{_ASSET} not_the_owner work_stopped platform_only character_locked token_not_allowed"
    " quantity_invalid duration_invalid window_invalid image_unknown metadata_too_large asset_expired",
    **dict.fromkeys(("reprice_listing", "cancel_listing"), "listing_not_found not_the_owner offer_closed"),
    "buy_of_listing": f"listing_not_found {_BUYER} quantity_invalid not_enough_left asset_expired platform_only"
    " asset_not_found token_not_allowed",
    "rent_of_listing": f"listing_not_found asset_not_found {_BUYER} duration_invalid character_locked"
    " character_rented token_not_allowed",
    "create_plan": "work_not_found not_the_owner token_not_allowed duration_invalid",
    "close_plan": f"{_ASSET} not_the_owner offer_closed",
    "subscribe_by_plan": f"{_ASSET} buyer_unknown offer_closed duration_invalid token_not_allowed",
    "draft_order": _SELLABLE,
    "post_order": f"{_SELLABLE} order_cancelled not_enough_left seller_must_approve order_signature too_many_orders",
    "fill_order": f"{_SELLABLE} order_not_found order_cancelled not_enough_left seller_must_approve buyer_unknown"
    " order_not_for_you",
    "cancel_order": "order_not_found not_the_owner order_cancelled order_expired not_enough_left",
    "create_payment_intent": "work_not_found work_revoked token_not_allowed amount_out_of_range",
    "get_payout_series": "token_not_allowed zone_unknown",
    "get_payout_statements": "cursor_void",
    "create_reassign_intent": "work_not_found platform_split work_disputed work_frozen share_not_found position_needed"
    " cannot_move too_early tree_unknown",
    "create_activate_intent": "work_not_found platform_split work_disputed work_frozen nothing_pending too_early"
    " tree_unknown",
    **dict.fromkeys(("get_proposal", "list_votes", "get_power"), "proposal_unknown"),
    "make_proposal_intent": "action_invalid conflict",
    **dict.fromkeys(
        ("make_vote_intent", "make_queue_intent", "make_execute_intent"),
        "proposal_unknown proposal_state proposal_not_yet",
    ),
    "get_policy": "policy_unknown",
    "change_personalization": "birth_year_ahead pause_not_ahead",
    "hide_creator": "too_many_hidden",
    "export_taste": "taste_not_read unavailable",
    "get_taste_key": "unavailable",
    "import_taste": "taste_document_invalid taste_signature_wrong taste_issuer_unknown taste_document_age unavailable",
    **dict.fromkeys(("get_taste_without", "forget_work"), "taste_unknown"),
    "get_feed_why": "taste_unknown slate_unknown not_in_catalogue",
    "make_configuration_known": "configuration_invalid",
    "get_packaging": "work_not_found not_your_work",
    "add_picture": "work_not_found not_your_work too_many_pictures upload_too_large media_type_refused",
    "set_packaging": "work_not_found not_your_work no_such_picture variant_twice too_many_new_variants",
    "get_known_configuration": "configuration_not_found",
    "get_reward_epoch": "epoch_not_found",
    "get_my_counted_events": "epoch_not_found epoch_log_empty",
    "follow_live": "sign_in_required topic_unknown last_event_id_invalid too_many_streams",
    "create_webhook": "webhook_url webhook_limit",
    "update_webhook": "webhook_not_found webhook_url",
    "test_webhook": "webhook_not_found webhook_disabled",
    "redeliver_webhook": "webhook_not_found webhook_delivery_not_found webhook_disabled",
    "get_webhook_delivery": "webhook_not_found webhook_delivery_not_found",
    **dict.fromkeys(
        ("get_webhook", "delete_webhook", "rotate_webhook_secret", "list_webhook_deliveries"), "webhook_not_found"
    ),
}
"""Operation id -> its own codes, those below 500."""


@cache
def meanings() -> dict[str, tuple[tuple[int, ...], str]]:
    """The rows of docs/errors.md: code -> its statuses, and when it is answered."""
    found = ROW.findall(ERRORS.read_text())
    return {code: (tuple(map(int, statuses.split(", "))), when) for code, statuses, when in found}


def codes_of(route: APIRoute) -> frozenset[str]:
    """All codes below 500 that a route can answer."""
    method = next(iter(route.methods or {"GET"}))
    asked = set(calls(route.dependant))
    found = {"malformed", *OWN.get(route.name, "").split()}
    if route_class(method, route.path) is not None:
        found.add("rate_limited")
    if _parameters(route.dependant) or route.body_field is not None:
        found |= {"invalid", "unstorable_text", "value_out_of_range"}
    if "cursor" in _parameters(route.dependant):
        found |= {"cursor_invalid", "cursor_void"}
    if method in SAFE_METHODS:
        found |= {"precondition_failed", "etag_void"}
    else:
        found |= set(_of_change(route, method))
    return frozenset(found.union(_of_callers(method, asked, by_key=_takes_keys(route.dependant))))


def _of_change(route: APIRoute, method: str) -> Iterator[str]:
    yield from ("body_too_large", "malformed_json", "json_too_deep", "unstorable_text")
    if route.body_field is not None:
        yield "unsupported_media_type"
    if method != "POST":
        yield "precondition_failed"
    if route.path.startswith("/v1/") and not NOT_FOR.match(route.path):
        yield from ("idempotency_key_malformed", "idempotency_in_flight", "idempotency_key_reused")
        yield from ("idempotency_answer_not_kept", "session_unknown", "session_expired", "cross_origin", "erased")
        yield "erasure_under_way"


def _of_callers(method: str, asked: set[Any], *, by_key: bool) -> Iterator[str]:
    if not asked & {deps.get_optional_caller, deps.get_optional_person_or_visitor, deps.get_person_or_visitor}:
        return
    yield from ("session_unknown", "session_expired", "erased", "key_unknown", "key_revoked", "key_expired")
    yield "scope_missing" if by_key else "key_not_allowed"
    if method not in SAFE_METHODS:
        yield "cross_origin"
    if asked & {deps.get_caller, deps.get_person_or_visitor}:
        yield "sign_in_required"
    if asked & {deps.get_current_account, deps.get_current_person, deps.get_confirmed_account}:
        yield "wallet_required"
    if deps.get_confirmed_session in asked:
        yield "session_unconfirmed"
    if asked & {deps.get_moderator, deps.get_operator}:
        yield "role_required"


def _parameters(dependant: Dependant) -> set[str]:
    mine = (*dependant.path_params, *dependant.query_params, *dependant.header_params)
    return {field.name for field in mine}.union(*map(_parameters, dependant.dependencies))


def _takes_keys(dependant: Dependant) -> bool:
    return bool(dependant.own_oauth_scopes) or any(map(_takes_keys, dependant.dependencies))


def answers(route: APIRoute) -> dict[str, Json]:
    """OpenAPI's answers for a route's codes: one a status; its own codes with when they are answered."""
    own = set(OWN.get(route.name, "").split())
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(codes_of(route), key=lambda code: (code not in own, code)):
        statuses, when = meanings()[code]
        for status in statuses:
            by_status[status].append(f"- `{code}`: {when}" if code in own else f"- `{code}`")
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        str(status): {"description": "\n".join(lines), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, lines in sorted(by_status.items())
        if status < 500
    }
