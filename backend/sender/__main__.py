"""The operator's look at the outbox: `python -m backend.sender status`, and `... resume` after a halt.

Reads the settings of the environment as a worker does. Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ManifestError
from backend.deps import Core
from backend.models.sender import OutboxIntent, SenderAccount
from backend.schemas import parse_address
from backend.sender.service import resume
from backend.sender.states import TERMINAL
from backend.settings import SettingsError, load_settings

UNFINISHED_SHOWN = 50


def lines(session: Session) -> list[str]:
    """Halted accounts, and the intents that have not ended, oldest first."""
    accounts = session.scalars(select(SenderAccount).order_by(SenderAccount.chain_id, SenderAccount.address)).all()
    found = [
        f"0x{account.address.hex()} on chain {account.chain_id}: "
        + (f"HALTED ({account.halted_code}) {account.halted_detail}" if account.halted_code else "signing")
        for account in accounts
    ]
    waiting = session.scalars(
        select(OutboxIntent)
        .where(OutboxIntent.state.not_in(TERMINAL))
        .order_by(OutboxIntent.id)
        .limit(UNFINISHED_SHOWN)
    )
    found += [
        f"{intent.id} {intent.kind} {intent.state} nonce {'-' if intent.nonce is None else intent.nonce}"
        + (f": {intent.code} {intent.detail or ''}".rstrip() if intent.code else "")
        for intent in waiting
    ]
    return found or ["nothing was ever queued"]


@contextmanager
def closing_database(core: Core) -> Iterator[None]:
    """Close the database's connections at the end."""
    try:
        yield
    finally:
        core.database.dispose()


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.sender", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what is halted, and what is on its way")
    again = commands.add_parser("resume", help="let a halted account sign again, once the cause is gone")
    again.add_argument("address", help="the operator's account, 0x and 40 hex digits")
    given = parser.parse_args(arguments)
    try:
        address = bytes.fromhex(parse_address(given.address)[2:]) if given.command == "resume" else b""
    except ValueError as error:
        parser.error(f"address: {error}")
    try:
        core = Core(load_settings())
        with closing_database(core), core.database.session() as session:
            if given.command == "status":
                sys.stdout.write("\n".join(lines(session)) + "\n")
            elif resume(session, chain_id=core.settings.chain_id, address=address):
                sys.stdout.write(f"{given.address} signs again\n")
            else:
                sys.stderr.write(f"{given.address} is not halted on chain {core.settings.chain_id}\n")
                return 1
    except (SettingsError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
