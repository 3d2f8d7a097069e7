"""What an offer is at a moment: whether it can be bought, and if not, why. Storefront's rules. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from backend.shop.prices import Division, Rates, first_sale, resale
from backend.works.rules import Status

MAX_CHARACTERS: Final = 20
"""Most characters or tickets that are minted at once."""

KindName = Literal["edition", "character", "work", "rental"]
OfferState = Literal["open", "not_yet", "ended", "sold_out", "cancelled", "seller_gone", "work_stopped"]
PlanState = Literal["open", "closed", "work_stopped"]

WHY: Final[dict[str, str]] = {
    "not_yet": "its sale has not begun",
    "ended": "its sale is over",
    "sold_out": "nothing is left of it",
    "cancelled": "it was withdrawn",
    "closed": "it was closed",
    "seller_gone": "its seller no longer owns what it offers",
    "work_stopped": "its work is suspended or revoked",
}
"""Why an offer or plan in one of these states can't be bought."""


class Kind(IntEnum):
    """What a listing offers, as the contract numbers it."""

    EDITION = 0
    CHARACTER = 1
    WORK = 2
    RENTAL = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing; times are block times in seconds, 0 for none."""

    listing_id: int
    work_id: int
    seller: bytes
    owner: bytes | None
    """Of the work, or of the character that is let."""
    kind: Kind
    asset_id: int
    token: bytes
    price: int
    max_supply: int
    sold: int
    starts_at: int
    ends_at: int
    period: int
    closed: bool
    status: Status
    """The work's."""

    @property
    def left(self) -> int:
        """How many can still be sold; a rental has no pieces."""
        return 0 if self.kind is Kind.RENTAL else self.max_supply - self.sold

    def state(self, now: int) -> OfferState:
        """What it is at `now`, by the chain's clock."""
        if self.closed:
            return "cancelled"
        if self.ends_at and now >= self.ends_at:
            return "ended"
        if self.status >= Status.SUSPENDED:
            return "work_stopped"
        if self.owner != self.seller:
            return "seller_gone"
        if self.kind is not Kind.RENTAL and not self.left:
            return "sold_out"
        return "not_yet" if now < self.starts_at else "open"

    def divide(self, total: int, rates: Rates) -> Division:
        """Who gets what of a price: new copies are the work's revenue, what a holder sells or lends is a resale."""
        return (resale if self.kind in (Kind.WORK, Kind.RENTAL) else first_sale)(total, rates)


def plan_state(*, closed: bool, status: Status) -> PlanState:
    """Whether a work can be subscribed to by a plan."""
    if closed:
        return "closed"
    return "work_stopped" if status >= Status.SUSPENDED else "open"
