"""Who may call a route that API keys may call too: the same people as in backend.deps, or a key with the scope.

`me: WorksAuthor` in a route is all it takes; OpenAPI shows the scope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Security

from backend.accounts.scopes import Scope
from backend.accounts.service import SignedIn, Somebody
from backend.deps import get_current_account, get_current_person, get_optional_account, get_optional_person_or_visitor
from backend.models.accounts import Account


def scoped(who: Callable[..., Any], scope: Scope) -> Any:
    """A dependency of backend.deps that takes a key with the scope as well."""
    return Security(who, scopes=[scope.value])


WorksReader = Annotated[Account, scoped(get_current_account, Scope.WORKS_READ)]
WorksAuthor = Annotated[Account, scoped(get_current_account, Scope.WORKS_WRITE)]
WorksUploader = Annotated[SignedIn, scoped(get_current_person, Scope.WORKS_WRITE)]
Trader = Annotated[Account, scoped(get_current_account, Scope.SHOP_WRITE)]
OptionalTrader = Annotated[Account | None, scoped(get_optional_account, Scope.SHOP_WRITE)]
OptionalPayer = Annotated[Account | None, scoped(get_optional_account, Scope.PAYOUTS_WRITE)]
ShareHolder = Annotated[SignedIn, scoped(get_current_person, Scope.PAYOUTS_WRITE)]
WebhookOwner = Annotated[Account, scoped(get_current_account, Scope.WEBHOOKS_WRITE)]
RewardsReader = Annotated[Account, scoped(get_current_account, Scope.REWARDS_READ)]
OptionalWitness = Annotated[Somebody | None, scoped(get_optional_person_or_visitor, Scope.ENGAGEMENT_WRITE)]
OptionalFollower = Annotated[Somebody | None, scoped(get_optional_person_or_visitor, Scope.LIVE_READ)]
OptionalFeedReader = Annotated[Somebody | None, scoped(get_optional_person_or_visitor, Scope.FEED_READ)]
