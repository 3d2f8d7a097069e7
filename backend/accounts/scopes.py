"""What an API key may be allowed to do. A route that names no scope is closed to keys.

Never in this list: signing in, sessions, keys, consents, a person's data and its erasure. They need the person.
"""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """The scopes; a route says which it takes, and OpenAPI shows it."""

    ENGAGEMENT_WRITE = "engagement:write"
    FEED_READ = "feed:read"
    LIVE_READ = "live:read"
    PAYOUTS_WRITE = "payouts:write"
    REWARDS_READ = "rewards:read"
    SHOP_WRITE = "shop:write"
    WEBHOOKS_WRITE = "webhooks:write"
    WORKS_READ = "works:read"
    WORKS_WRITE = "works:write"


MEANING: dict[Scope, str] = {
    Scope.ENGAGEMENT_WRITE: "Report what you do with works",
    Scope.FEED_READ: "Read your feed, as personal as you allow programs",
    Scope.LIVE_READ: "Follow what happens, your own payouts among it",
    Scope.PAYOUTS_WRITE: "Prepare payments and moves of shares, which your wallet signs",
    Scope.REWARDS_READ: "Read which of your events were counted",
    Scope.SHOP_WRITE: "Prepare offers, orders and purchases, which your wallet signs",
    Scope.WEBHOOKS_WRITE: "Register webhook endpoints, change them, read what was sent",
    Scope.WORKS_READ: "Read your drafts",
    Scope.WORKS_WRITE: "Upload drafts and prepare registrations and licences, which your wallet signs",
}
