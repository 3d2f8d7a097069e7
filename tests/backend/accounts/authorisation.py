"""Who may call which operation: one row for each, by its id in OpenAPI.

A new route is not served to anybody by mistake: `test_authorisation.py` fails until it has its row here, and, if it
names something of one person alone, its example there.
"""

from __future__ import annotations

from typing import NamedTuple

from backend.accounts.scopes import Scope


class Row(NamedTuple):
    """Who passes the gate of an operation."""

    nobody: bool
    visitor: bool
    scope: str | None
    """With which an API key passes; None: with none."""
    role: str | None = None
    """Without which a person does not pass."""
    asks: bool = True
    """Whether it looks at who calls; what does not serves a dead token, too."""


ANYBODY = Row(nobody=True, visitor=True, scope=None, asks=False)
KNOWN = Row(nobody=False, visitor=True, scope=None)
WALLET = Row(nobody=False, visitor=False, scope=None)


def known_or_not(scope: Scope) -> Row:
    """Serves everybody, and those better whom it knows."""
    return Row(nobody=True, visitor=True, scope=scope.value)


def wallet_or(scope: Scope) -> Row:
    """For persons with an address, and their keys with a scope."""
    return Row(nobody=False, visitor=False, scope=scope.value)


def _rows(row: Row, operations: str) -> dict[str, Row]:
    return dict.fromkeys(operations.split(), row)


TABLE: dict[str, Row] = {
    **_rows(
        ANYBODY,
        """
        get_taste_key
        get_chain_status get_health get_readiness create_nonce verify_sign_in create_visitor verify_receipt
        get_configuration get_known_configuration get_showing
        list_proposals get_proposal list_votes get_power get_policy make_proposal_intent make_vote_intent
        make_queue_intent make_execute_intent make_delegation_intent
        list_works get_work get_provenance get_split get_standing list_licences list_licence_templates get_licence
        list_listings get_listing list_items get_item list_item_holders list_held_items list_classes get_class
        list_characters get_character list_plans get_plan list_subscriptions get_access
        list_orders get_order post_order cancel_all_orders get_content
        get_payout_summary get_payout_claims get_payout_series get_payout_statements get_payout_statements_csv
        create_activate_intent list_reward_epochs get_reward_epoch get_account_rewards
        """,
    ),
    **_rows(ANYBODY, "get_erasure download_erasure_receipt"),  # by a secret id: whoever asks has no account any more
    **_rows(
        KNOWN,
        """
        get_session_info sign_out list_sessions revoke_session get_me list_consents set_consent list_receipts
        download_receipt get_receipt_proof get_data_use get_personalization set_personalization change_personalization
        hide_creator show_creator
        reset_personalization forget_work get_taste get_taste_without export_taste import_taste drop_imported_taste
        list_exports create_export get_export delete_export download_export get_restriction set_restriction
        get_erasure_meaning erase_me
        """,
    ),
    **_rows(WALLET, "make_configuration_known"),
    **_rows(Row(nobody=False, visitor=False, scope=None, role="operator"), "list_experiments"),
    **_rows(WALLET._replace(role="moderator"), "decide_on_work"),
    **_rows(WALLET, "list_keys create_key rotate_key revoke_key"),
    **_rows(known_or_not(Scope.ENGAGEMENT_WRITE), "send_engagement"),
    **_rows(known_or_not(Scope.FEED_READ), "search_works make_wish get_feed get_feed_why"),
    **_rows(known_or_not(Scope.SHOP_WRITE), "buy_of_listing rent_of_listing subscribe_by_plan fill_order"),
    **_rows(known_or_not(Scope.PAYOUTS_WRITE), "create_payment_intent"),
    **_rows(known_or_not(Scope.LIVE_READ), "follow_live"),
    **_rows(wallet_or(Scope.WORKS_READ), "list_drafts get_draft get_draft_file get_packaging"),
    **_rows(
        wallet_or(Scope.WORKS_WRITE),
        "create_draft get_registration_intent approve_derivative contest_work create_licence declare_showing"
        " set_packaging add_picture",
    ),
    **_rows(
        wallet_or(Scope.SHOP_WRITE),
        """
        create_item create_class mint_character check_in_ticket create_listing reprice_listing cancel_listing
        create_plan close_plan draft_order cancel_order
        """,
    ),
    **_rows(wallet_or(Scope.PAYOUTS_WRITE), "create_reassign_intent"),
    **_rows(wallet_or(Scope.REWARDS_READ), "get_my_counted_events"),
    **_rows(
        wallet_or(Scope.WEBHOOKS_WRITE),
        """
        list_webhooks create_webhook get_webhook update_webhook delete_webhook rotate_webhook_secret test_webhook
        list_webhook_deliveries get_webhook_delivery redeliver_webhook
        """,
    ),
}

PUBLIC_OBJECTS = set(
    [
        "approve_derivative",
        "contest_work",
        "create_item",
        "create_class",
        "mint_character",
        "check_in_ticket",
        "reprice_listing",
        "cancel_listing",
        "buy_of_listing",
        "rent_of_listing",
        "create_plan",
        "close_plan",
        "subscribe_by_plan",
        "fill_order",
        "cancel_order",
        "create_reassign_intent",
        "get_my_counted_events",
        "set_consent",
        "declare_showing",
        "decide_on_work",
        "hide_creator",
        "show_creator",
        "get_taste_without",
        "get_feed_why",
        "forget_work",
        "get_packaging",
        "set_packaging",
        "add_picture",
    ]
)
"""Operations that ask who calls and name an object which everybody may know: it stands on the chain, or is a word of
ours. What is of one person alone has its example in `OWNED` of the test, and is not there for others."""
