"""Bring a database to this version: roles and schemas, then the product's tables, then the chain's."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from backend.migrations.upgrade import UnknownRevision, upgrade
from indexer.errors import IndexerError
from indexer.migrate import migrate as migrate_chain
from stack.errors import StackError


def require_address(url: str, variable: str) -> None:
    """Raises StackError for what is no address of a PostgreSQL database."""
    try:
        well = make_url(url).drivername == "postgresql+psycopg"
    except (ArgumentError, ValueError):
        well = False
    if not well:
        raise StackError(f"{variable} is no database's address: write postgresql+psycopg://role@host/name")


def migrate_all(admin_url: str, indexer_url: str, *, say: Callable[[str], object] = lambda _: None) -> None:
    """Run every step in order, each of which may run again without harm. Raises StackError."""
    require_address(admin_url, "TROUPE_ADMIN_DATABASE_URL")
    require_address(indexer_url, "TROUPE_INDEXER_DATABASE_URL")
    try:
        before, after = upgrade(admin_url)
        change = f"revision {after}" if before == after else f"revision {before or 'none'} -> {after}"
        say(f"roles and product tables   {change}")
        say(f"chain tables and views     {migrate_chain(indexer_url)}")
    except (OperationalError, psycopg.OperationalError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StackError(f"the database cannot be reached: {reason}") from error
    except (IndexerError, UnknownRevision) as error:
        raise StackError(str(error)) from error
