"""The operator's answer to a rejected root: `python -m backend.rewards withdraw|repropose EPOCH TOKEN`.

`withdraw` lets the root go: its epoch rewards nobody in that stream. `repropose` plans the epoch anew. Until one of the
two is said, nothing more is proposed in the stream. Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from backend.deps import Core
from backend.rewards import service
from backend.rewards.terms import raw
from backend.schemas import parse_address
from backend.sender.__main__ import closing_database
from backend.settings import SettingsError, load_settings


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.rewards", description=__doc__)
    parser.add_argument("decision", choices=("withdraw", "repropose"))
    parser.add_argument("epoch", type=int)
    parser.add_argument("token", help="the stream's token, 0x and 40 hex digits; the native coin is the zero address")
    given = parser.parse_args(arguments)
    try:
        token = raw(parse_address(given.token))
    except ValueError as error:
        parser.error(f"token: {error}")
    decide = service.withdraw if given.decision == "withdraw" else service.repropose
    try:
        core = Core(load_settings())
        with closing_database(core), core.database.session() as session:
            decide(session, epoch=given.epoch, token=token)
    except (SettingsError, LookupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"epoch {given.epoch}: {given.decision} is noted; the next tick of the worker acts on it\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
