"""What fees accounts paid: with payments of their own, and with what they bought in the storefront.

The ledger sees the storefront as the payer of a sale. Each of its sales tells its buyer in an event of its own, beside
at most one payment, and no sale runs within another. So in the order of a transaction's logs a payment belongs to the
order that was filled right after it, if that paid a royalty, else to the sale that was told right before it. No field
that a caller chooses (`ref`) is believed.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.rewards.engine import Verification

_SALES: Final = (
    ("storefront_purchased", "buyer", "false"),
    ("storefront_rented", "user_", "false"),
    ("storefront_subscribed", "payer", "false"),
    ("storefront_order_filled", "buyer", "royalty > 0"),
)
"""(sale, who paid, whether its payment stands before it)"""

_IN_TIME: Final = "block_time >= :since AND block_time < :until"

_TOLD: Final = " ".join(
    f"UNION ALL SELECT tx_hash, log_index, {buyer}, {follows}, NULL, NULL, NULL, NULL"
    f" FROM chain.{sale} WHERE {_IN_TIME}"
    for sale, buyer, follows in _SALES
)

_FEES = text(f"""
WITH shop AS (
    SELECT tx_hash, log_index, NULL::bytea AS buyer, false AS follows, work_id, token, amount, fee
    FROM chain.revenue_ledger_payment_received WHERE payer = :storefront AND {_IN_TIME}
    {_TOLD}
), sold AS (
    SELECT CASE WHEN lead(follows) OVER logs THEN lead(buyer) OVER logs ELSE lag(buyer) OVER logs END AS payer,
           work_id, token, amount, fee
    FROM shop WINDOW logs AS (PARTITION BY tx_hash ORDER BY log_index)
), paid AS (
    SELECT payer, work_id, token, amount, fee FROM sold WHERE work_id IS NOT NULL AND payer = ANY(:accounts)
    UNION ALL
    SELECT payer, work_id, token, amount, fee FROM chain.revenue_ledger_payment_received
    WHERE payer = ANY(:accounts) AND {_IN_TIME}
)
SELECT paid.payer, work.creator, paid.token, sum(CASE WHEN paid.work_id = 0 THEN paid.amount ELSE paid.fee END) AS fee
FROM paid LEFT JOIN chain.work work ON work.work_id = paid.work_id AND paid.work_id <> 0
WHERE (paid.payer IN (work.creator, work.owner)) IS NOT TRUE
GROUP BY paid.payer, work.creator, paid.token
""")


def fees(session: Session, accounts: set[bytes], *, storefront: bytes, since: int, until: int) -> list[Verification]:
    """Fees that accounts paid to works of others in blocks of [since, until), by creator and token.

    A payment to the platform itself (work 0, no creator) counts in full.
    """
    given = {"accounts": sorted(accounts), "storefront": storefront, "since": since, "until": until}
    return [
        Verification(
            bytes(row.payer), None if row.creator is None else bytes(row.creator), bytes(row.token), int(row.fee)
        )
        for row in session.execute(_FEES, given)
    ]
