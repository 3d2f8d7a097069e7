"""Erasure: a person's key is destroyed, their rows and files are dropped, and a receipt says what could not be.

    asked -> forgotten -> key_destroyed -> dropped -> done

Each step can be done again after a crash and leads to the same state; `STEPS` is the one table of them. What is behind
the gate goes first, while the key still tells which rows are the person's. From `key_destroyed` on nobody can read what
was sealed, in whatever copy of the database there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from backend.backup.keys import destroy_everywhere
from backend.consent.export import Unit, nothing, owner_of, sweep
from backend.consent.gate import forget, freeze, traces
from backend.consent.persons import person_of
from backend.consent.rows import Owner, owner_column, sources
from backend.content.service import let_go
from backend.content.store import ContentError, ContentStore
from backend.edge.ratelimit import Principal
from backend.errors import Forbidden, NotFound
from backend.models.accounts import Account, ApiKey, AuthSession
from backend.models.base import Base
from backend.models.content import Content
from backend.models.own_data import Erasure
from backend.models.shop import SignedOrder
from backend.personalization.models import versions
from backend.personalization.packaging import pictures
from backend.vault.vault import Vault
from backend.works.drafts import DraftFiles
from backend.works.publication import gone, unshared
from indexer.models import event

log = structlog.get_logger()

FORMAT: Final = "troupe-erasure/1"
FRESH: Final = timedelta(minutes=10)
"""How old a sign-in may be for something that cannot be taken back."""

Retrain = Callable[[Session, int], object]
"""Drops the models from a version on, and trains one in their place on what may be learned from now."""
Repackage = Callable[[Session], object]
"""Learns anew which titles and pictures please."""
LEARNED: Final = "learned"
"""In an erasure's steps: what may have learned from the person; nothing of it is left when the erasure is done."""
EVERYTHING: Final = {"models": 1, "packaging": 1}
Uncount = Callable[[Sequence[Principal]], None]
"""Forgets how many requests they made lately. It must not fail: what it leaves is gone in a minute by itself."""


def is_fresh(session: AuthSession, *, now: datetime) -> bool:
    """Whether a sign-in is recent enough for what cannot be taken back. A visitor has nothing else to show."""
    return session.account.wallet is None or session.created_at >= now - FRESH


def require_fresh(session: AuthSession, *, now: datetime) -> None:
    """Raises Forbidden for a person whose sign-in is older than FRESH."""
    if not is_fresh(session, now=now):
        raise Forbidden(
            "An erasure cannot be taken back, so it asks for a fresh sign-in: sign in with your wallet again, then"
            " send this within ten minutes. Nothing was changed.",
            code="fresh_sign_in_required",
            title="Sign in again",
        )


# --- what it means ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """What an erasure would destroy, in words and numbers, and what would remain."""

    destroyed: dict[str, int]
    remains: list[str]


def meaning(session: Session, vault: Vault, account_id: uuid.UUID) -> Meaning:
    """What erasing this account means, counted now."""
    owner = owner_of(session, vault, account_id)
    listed = [source for source in sources(vault) if source.name != "chain_events"]
    counted = {source.words: source.count(session, owner) for source in listed}
    return Meaning({words: count for words, count in counted.items() if count}, _remains(session, vault, owner))


def _remains(session: Session, vault: Vault, owner: Owner) -> list[str]:
    said = []
    if owner.address is not None:
        chain = next(source for source in sources(vault) if source.name == "chain_events")
        if events := chain.count(session, owner):
            said.append(
                f"{events:,} {_plural('event', events)} on chain {'names' if events == 1 else 'name'} your address:"
                " works, payments, votes, claims. A chain cannot forget, and nobody can erase them; what you own there"
                " stays yours."
            )
        if works := _works(session, owner.address):
            said.append(
                f"{works:,} registered {_plural('work', works)} with the files that the chain names. They are public,"
                " and others may hold copies."
            )
    said.append(
        "Published reward logs hold what you did under names made for one week each. What would lead from them to you"
        " is destroyed."
    )
    said.append(
        "What was counted without your name, and what models learnt from many people at once. The model that serves is"
        " trained again without you as part of the erasure; copies that others made of its answers are theirs."
    )
    said.append(
        "Backups made before: they hold ciphertext that nobody can open once your key is destroyed, the address that"
        " you signed in with, and when. A backup that is put back is erased of you again."
    )
    return said


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _works(session: Session, address: bytes) -> int:
    registered = event("WorkRegistry", "WorkRegistered")
    named = [c == address for c in registered.columns if c.name in ("owner", "creator", "registrant")]
    return session.scalar(select(func.count()).select_from(registered).where(or_(*named))) or 0


# --- asking -----------------------------------------------------------------------------------------------------------


def begin(session: Session, vault: Vault, current: AuthSession, *, now: datetime) -> Erasure:
    """Ask for an erasure of who is signed in. Raises Forbidden without a fresh sign-in."""
    require_fresh(current, now=now)
    return ask(session, vault, account_id=current.account_id, now=now)


def ask(session: Session, vault: Vault, *, account_id: uuid.UUID, now: datetime) -> Erasure:
    """Begin an erasure: from here on nobody is signed in as the person, and nothing is read of them.

    Asking twice is one erasure.
    """
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    found = session.scalar(select(Erasure).where(Erasure.account_id == account_id))
    if found is not None:
        return found
    means = meaning(session, vault, account_id)
    made = Erasure(
        id=uuid.uuid4(),
        account_id=account_id,
        state="asked",
        asked_at=now,
        steps={"asked": now.isoformat(), "keys": [str(key) for key in _keys(session, account_id)]},
        destroyed=means.destroyed,
        remains=means.remains,
    )
    session.add(made)
    _close_doors(session, account_id)
    if (person := person_of(session, vault, account_id)) is not None:
        freeze(session, person, now=now)
    session.flush()
    return made


def _keys(session: Session, account_id: uuid.UUID) -> Sequence[uuid.UUID]:
    return session.scalars(select(ApiKey.id).where(ApiKey.account_id == account_id)).all()


def _close_doors(session: Session, account_id: uuid.UUID) -> None:
    """Delete all that lets somebody in as the account: sessions, and keys of programs."""
    for table in Base.metadata.sorted_tables:
        column = owner_column(table)
        if column is not None and {"token_hash", "key_hash"} & set(table.columns.keys()):
            session.execute(delete(table).where(column == account_id))


def find(session: Session, erasure_id: uuid.UUID) -> Erasure:
    """An erasure by its secret id. Raises NotFound."""
    found = session.get(Erasure, erasure_id)
    if found is None:
        raise NotFound("There is no erasure with this id. The id was shown when it was asked for, and is nowhere else.")
    return found


def receipt(row: Erasure) -> dict[str, Any]:
    """What the person keeps: what was asked, done, destroyed, and what remains."""
    return {
        "format": FORMAT,
        "id": str(row.id),
        "state": row.state,
        "asked_at": row.asked_at.isoformat(),
        "done_at": None if row.done_at is None else row.done_at.isoformat(),
        "steps": {state: row.steps[state] for state in STATES if state in row.steps},
        "destroyed": row.destroyed,
        "remains": row.remains,
    }


# --- doing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Means:
    """What an erasure is done with."""

    unit: Unit
    vault: Vault
    store: ContentStore
    drafts: DraftFiles
    exports: Path
    """The folder of the exports."""
    retrain: Retrain
    repackage: Repackage
    uncount: Uncount


def _forget(means: Means, row: Erasure) -> None:
    """Drop every row behind the gate, and what is counted of the person's requests. Again it finds none."""
    keys = [Principal("key", key) for key in row.steps.get("keys", [])]
    means.uncount([Principal("person", str(row.account_id)), *keys])
    with means.unit() as session:
        # whoever is writing about the person ends first, and whoever comes then finds the erasure
        there = session.scalar(select(Account.id).where(Account.id == row.account_id).with_for_update())
        _close_doors(session, row.account_id)
        found = session.get_one(Erasure, row.id, with_for_update=True)
        # a visitor without a session may have been swept in between: then nobody knows what learned from them
        learned = found.steps.get(LEARNED, EVERYTHING if there is None else {})
        if (person := person_of(session, means.vault, row.account_id)) is not None:
            learned |= _learned_from(session, person)
            forget(session, [person])
        found.steps = found.steps | {LEARNED: learned}


def _learned_from(session: Session, person: uuid.UUID) -> dict[str, int]:
    """What may hold something of the person: models from a version on, and what is known of titles and pictures.

    No time of what the person did stands in it: beside the account that would lead to their pseudonym in a backup.
    """
    found = traces(session, person)
    learned = {} if found.first_event_at is None else {"models": versions.first_with(session, found.first_event_at)}
    return learned | ({"packaging": 1} if found.impressions else {})


def _destroy_key(means: Means, row: Erasure) -> None:
    """Overwrite the key, here and in every mirror."""
    if away := destroy_everywhere(means.vault, row.account_id):
        words = f"{len(away)} {_plural('mirror', len(away))} of the keys could not be reached; the next backup erases"
        with means.unit() as session:
            found = session.get_one(Erasure, row.id)
            if not any(words in said for said in found.remains):
                found.remains = [*found.remains, f"{words} your key there."]


def _drop(means: Means, row: Erasure) -> None:
    """Drop the account with all that hangs on it, its unpublished files and its exports."""
    with means.unit() as session:
        found = session.get_one(Erasure, row.id, with_for_update=True)
        files = [*found.steps.get("files", []), *_unregistered_files(session, row.account_id)]
        found.steps = found.steps | {"files": files}
        _delete_account(session, row.account_id, files)
    means.drafts.forget(row.account_id)
    with means.unit() as session:
        back = set(session.scalars(select(Content.cid).where(Content.cid.in_(files))))  # somebody brought them since
    problem = _remove_files(means.store, [file for file in files if file not in back])
    with means.unit() as session:
        sweep(session, means.exports, now=row.asked_at)
        found = session.get_one(Erasure, row.id, with_for_update=True)
        found.steps = {state: at for state, at in found.steps.items() if state not in ("files", "keys")}
        if problem and problem not in found.remains:
            found.remains = [*found.remains, problem]


def _unregistered_files(session: Session, account_id: uuid.UUID) -> list[str]:
    """Files that were published for a registration which the chain has no more, and pictures of cards; nothing else
    names them."""
    return [*unshared(session, gone(session, account_id)), *pictures.alone(session, account_id)]


def _delete_account(session: Session, account_id: uuid.UUID, files: Sequence[str]) -> None:
    address = session.scalar(select(Account.wallet).where(Account.id == account_id))
    if address is not None:
        session.execute(delete(SignedOrder).where(SignedOrder.seller == address))
    session.execute(delete(Account).where(Account.id == account_id).execution_options(synchronize_session=False))
    session.execute(delete(Content).where(Content.cid.in_(files)).execution_options(synchronize_session=False))


def _remove_files(store: ContentStore, files: Sequence[str]) -> str | None:
    """Let go of files and of their blocks; in words what hinders it, which must not hold up the erasure."""
    if not files:
        return None
    try:
        let_go(store, files)
    except ContentError as error:
        log.error("erasure_left_files", reason=str(error))
        return f"{len(files)} files that you had uploaded: the store could not remove their blocks yet ({error})."
    return None


class _Later(Exception):
    """Another process is at what this step needs; the next sweep takes the step again."""


def _derived(means: Means, row: Erasure) -> None:
    """Make anew what may have learned from the person; nothing for somebody from whom nothing can have."""
    _relearn(means, row, "packaging", lambda session, _: means.repackage(session))
    _relearn(means, row, "models", means.retrain)


def _relearn(means: Means, row: Erasure, what: str, learn: Retrain) -> None:
    """Learn one thing anew, once for all the erasures that wait for it: whoever has noted it has no rows any more."""
    if not row.steps.get(LEARNED, EVERYTHING).get(what):
        return
    with means.unit() as session:
        if not versions.lock(session):
            raise _Later
        query = select(Erasure).where(Erasure.state != "done").order_by(Erasure.asked_at, Erasure.id)
        wanted = {}
        for each in session.scalars(query):
            needs = each.steps.get(LEARNED, EVERYTHING if each.id == row.id else {})
            if needs.get(what):
                wanted[each.id] = needs[what]
        if row.id not in wanted:
            return
        learn(session, min(wanted.values()))
        mine = query.where(Erasure.id.in_(wanted)).with_for_update().execution_options(populate_existing=True)
        for each in session.scalars(mine):
            left = {name: since for name, since in each.steps.get(LEARNED, EVERYTHING).items() if name != what}
            each.steps = each.steps | {LEARNED: left}


@dataclass(frozen=True)
class Step:
    """What is done in a state, and the state that it leads to."""

    to: str
    do: Callable[[Means, Erasure], None]
    words: str
    """What is going on, for the person who waits."""


STEPS: Final = {
    "asked": Step("forgotten", _forget, "Dropping what you did, your consents and the log of uses"),
    "forgotten": Step("key_destroyed", _destroy_key, "Destroying your key"),
    "key_destroyed": Step("dropped", _drop, "Dropping your account, sessions, keys, drafts, files and exports"),
    "dropped": Step("done", _derived, "Training what learns without you"),
}
STATES: Final = (*STEPS, "done")
POINTS: Final = tuple(f"{when}_{state}" for state in STEPS for when in ("before", "after"))
"""Where a test kills the process: before what is done in a state, and after it, before that is written down."""


def advance(means: Means, erasure_id: uuid.UUID, *, now: datetime, at: Callable[[str], None] = nothing) -> bool:
    """Take an erasure to its end, from wherever an earlier attempt was broken off.

    False when another process does, or is at what the next step needs: the next sweep goes on.
    """
    with means.unit() as session:
        lock = int.from_bytes(erasure_id.bytes[-8:], "big", signed=True)
        if not session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
            return False
        while True:
            with means.unit() as reading:
                row = reading.get(Erasure, erasure_id)
                if row is None or row.state == "done":
                    return row is not None
                reading.expunge(row)
            step = STEPS[row.state]
            at(f"before_{row.state}")
            try:
                step.do(means, row)
            except _Later:
                return False
            at(f"after_{row.state}")
            with means.unit() as writing:
                _reached(writing, erasure_id, step.to, now)


def _reached(session: Session, erasure_id: uuid.UUID, state: str, now: datetime) -> None:
    row = session.get_one(Erasure, erasure_id, with_for_update=True)
    row.state = state
    row.steps = row.steps | {state: now.isoformat()}
    if state == "done":
        row.steps = {name: at for name, at in row.steps.items() if name != LEARNED}
        row.done_at = now


def waiting(session: Session) -> Sequence[uuid.UUID]:
    """Erasures that are not done, the oldest first."""
    return session.scalars(select(Erasure.id).where(Erasure.state != "done").order_by(Erasure.asked_at)).all()
