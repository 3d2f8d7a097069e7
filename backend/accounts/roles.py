"""Who is a moderator or an operator, apart from what they say.

A moderator is who has the role MODERATOR on chain (docs/roles.md), as far as the mirror is: a vote gives and takes it,
and the backend follows. Operators run this installation: the settings name their addresses, and they have no role on
chain.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from eth_utils.address import to_checksum_address
from sqlalchemy import literal, select, union_all
from sqlalchemy.orm import Session

from backend.errors import Forbidden
from backend.settings import Settings
from indexer import models as chain

MODERATOR_ROLE_ID: Final = 3
"""As the deployment's plan numbers the roles; a test compares them."""


class Role(StrEnum):
    """What a request may count as, beside its account."""

    MODERATOR = "moderator"
    OPERATOR = "operator"


def holds_on_chain(session: Session, role_id: int, account: bytes) -> bool:
    """Whether an account is a member of a role of the AccessManager now, by the mirror and by the chain's clock.

    A membership begins with a grant that is marked new, at its `since`, and ends with a revocation; other grants change
    delays alone.
    """
    granted, revoked = (chain.event("AccessManager", name).c for name in ("RoleGranted", "RoleRevoked"))
    changes = union_all(
        select(granted.block_number, granted.log_index, granted.since).where(
            granted.role_id == role_id, granted.account == account, granted.new_member
        ),
        select(revoked.block_number, revoked.log_index, literal(None)).where(
            revoked.role_id == role_id, revoked.account == account
        ),
    ).subquery()
    newest = (
        select(changes.c.since).order_by(changes.c.block_number.desc(), changes.c.log_index.desc()).limit(1)
    ).scalar_subquery()
    return bool(session.scalar(select(chain.cursor.c.head_time >= newest)))


def roles_of(session: Session, settings: Settings, address: bytes) -> list[Role]:
    """The roles of an account."""
    found = [Role.MODERATOR] if holds_on_chain(session, MODERATOR_ROLE_ID, address) else []
    return found + ([Role.OPERATOR] if to_checksum_address(address) in settings.operators else [])


def require(session: Session, settings: Settings, address: bytes, role: Role) -> None:
    """Raise Forbidden unless an account has a role."""
    if role not in roles_of(session, settings, address):
        article = "an" if role == Role.OPERATOR else "a"
        raise Forbidden(
            f"Only {article} {role} may do this.", code="role_required", title="Not your role", role=role.value
        )
