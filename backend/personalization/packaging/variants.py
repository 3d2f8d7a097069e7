"""Variants of how works are shown: offered by their owners, tried by the bandit, learned from what came of it.

What the bandit knows follows from the impressions alone, in their order: `learn_on` goes on from where it was,
`learn_anew` makes all of it again, and both come to the same numbers. An impression counts when its WINDOW is over.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read
from backend.errors import Conflict, Forbidden, Invalid
from backend.models.content import Content
from backend.models.impressions import KEPT_DAYS
from backend.models.packaging import ORIGINAL, PackagingArm, PackagingCursor, PackagingNew, PackagingVariant
from backend.personalization.packaging import bandit as packaging
from backend.personalization.packaging import pictures
from backend.personalization.packaging.bandit import Arm
from indexer.models import view

log = structlog.get_logger()

WINDOW: Final = timedelta(hours=3)
"""What is done within it counts as what came of an impression (backend.consent.reads)."""
SLICE: Final = timedelta(days=2)
"""So much of the log is in memory at once."""
REFRESH_S: Final = 5.0
"""How old what a process knows of variants may be."""
PICTURE_BYTES: Final = 2 * 1024 * 1024
"""A card's picture is not larger."""
NEW_AT_MOST: Final = 14
NEW_WITHIN: Final = timedelta(days=30)
"""So many new variants of a work in so long: two full sets. More would be a way around being retired."""
_LOCK: Final = 0x7061636B

Unit = Callable[[], AbstractContextManager[Session]]
Said = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Offered:
    """A variant as its owner offers it, checked."""

    title: str | None
    thumbnail_cid: str | None
    preview: str | None
    spoiler: bool

    @property
    def variant(self) -> uuid.UUID:
        """The id, which follows from the words."""
        parts = [self.title, self.thumbnail_cid, self.preview]
        said = b"".join(b"\0" if part is None else b"\1" + part.encode() + b"\2" for part in parts)
        return uuid.UUID(bytes=hashlib.sha256(b"troupe-variant/1" + said).digest()[:16])


# --- offered ----------------------------------------------------------------------------------------------------------


def require_owner(session: Session, work_id: int, address: bytes) -> None:
    """Raises Forbidden unless the address owns the work on chain; a work that is not there is nobody's."""
    work = view("work")
    owner = session.scalar(select(work.c.owner).where(work.c.work_id == work_id))
    if owner is None or owner != address:
        raise Forbidden(
            f"Work {work_id} is not yours, so how it is shown is not yours to say.",
            code="not_your_work",
            title="Not your work",
        )


def offer(
    session: Session,
    work_id: int,
    wanted: Sequence[Offered],
    *,
    account_id: uuid.UUID,
    owner: bytes,
    now: datetime,
) -> None:
    """Replace what is offered of a work.

    Raises Invalid for a picture that is not kept here, and Conflict where too many are new within NEW_WITHIN.
    """
    if len({each.variant for each in wanted}) < len(wanted):
        raise Invalid("Two of the variants say the same; leave one out.", code="variant_twice")
    for each in wanted:
        if each.thumbnail_cid is not None:
            _require_picture(session, each.thumbnail_cid, account_id=account_id, now=now)
    _note_new(session, work_id, [each.variant for each in wanted], now)
    session.execute(
        delete(PackagingVariant).where(
            PackagingVariant.work_id == work_id, PackagingVariant.variant.not_in([each.variant for each in wanted])
        )
    )
    for place, each in enumerate(wanted):
        row = {
            "account_id": account_id,
            "owner": owner,
            "place": place,
            "title": each.title,
            "thumbnail_cid": each.thumbnail_cid,
            "preview": each.preview,
            "spoiler": each.spoiler,
            "changed_at": now,
        }
        session.execute(
            insert(PackagingVariant)
            .values(work_id=work_id, variant=each.variant, **row)
            .on_conflict_do_update(index_elements=["work_id", "variant"], set_=row)
        )


def _note_new(session: Session, work_id: int, wanted: Sequence[uuid.UUID], now: datetime) -> None:
    """Note which variants are new. What is offered now, or was new within NEW_WITHIN, is not: it may come and go."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, work_id % 2**31)))  # two at once count one after the other
    since = now - NEW_WITHIN
    session.execute(delete(PackagingNew).where(PackagingNew.work_id == work_id, PackagingNew.at <= since))
    noted = {
        row.variant: row.at for row in session.scalars(select(PackagingNew).where(PackagingNew.work_id == work_id))
    }
    offered = session.scalars(select(PackagingVariant.variant).where(PackagingVariant.work_id == work_id)).all()
    new = [variant for variant in wanted if variant not in noted and variant not in offered]
    if len(noted) + len(new) > NEW_AT_MOST:
        leaving = sorted(noted.values())[: len(noted) + len(new) - NEW_AT_MOST]
        at = leaving[-1] + NEW_WITHIN
        raise Conflict(
            f"A work has at most {NEW_AT_MOST} new titles, pictures and previews in {NEW_WITHIN.days} days. This one"
            f" had {len(noted)}, and {len(new)} of these are new: offer fewer new ones, or wait until"
            f" {at:%Y-%m-%d %H:%M} UTC.",
            code="too_many_new_variants",
            title="Too many new variants",
        )
    session.add_all(PackagingNew(work_id=work_id, variant=variant, at=now) for variant in new)
    session.flush()


def _require_picture(session: Session, cid: str, *, account_id: uuid.UUID, now: datetime) -> None:
    kept = session.get(Content, cid)
    found = None
    if kept is None:
        found = "there is no such file here"
    elif not kept.media_type.startswith("image/"):
        found = f"it is of the type {kept.media_type}"
    elif kept.size_bytes > PICTURE_BYTES:
        found = f"it has {kept.size_bytes} bytes, and every card would load them"
    if found is not None:
        raise Invalid(
            f"{cid} is no picture for a card: {found}. Bring one with POST /v1/works/{{work_id}}/pictures.",
            code="no_such_picture",
        )
    if kept is not None and kept.card_only:
        pictures.own(session, kept.cid, account_id=account_id, now=now)


@dataclass(frozen=True)
class Standing:
    """A variant, and what became of it."""

    row: PackagingVariant
    arm: PackagingArm | None


def standing(session: Session, work_id: int) -> list[Standing]:
    """What is offered of a work, in the owner's order."""
    rows = session.execute(
        select(PackagingVariant, PackagingArm)
        .outerjoin(
            PackagingArm,
            (PackagingArm.work_id == PackagingVariant.work_id) & (PackagingArm.variant == PackagingVariant.variant),
        )
        .where(PackagingVariant.work_id == work_id)
        .order_by(PackagingVariant.place)
    )
    return [Standing(variant, arm) for variant, arm in rows]


def original(session: Session, work_id: int) -> PackagingArm | None:
    """What became of the work's own title and picture where variants stood beside it."""
    return session.get(PackagingArm, (work_id, ORIGINAL))


# --- tried ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One arm as serving knows it."""

    variant: uuid.UUID
    title: str | None
    thumbnail_cid: str | None
    preview: str | None
    spoiler: bool
    arm: Arm | None
    watched: bool = False
    """A variant of the work was retired, and of this one little is known: it gets the floor probability alone."""


@dataclass(frozen=True)
class Package:
    """How a work is shown in a slate, and with which probability it is shown so."""

    choice: Choice
    propensity: float
    context: tuple[float, ...]
    arms: int

    def row(self, place: int) -> dict[str, Any]:
        """As the impression keeps it."""
        return {
            "place": place,
            "variant": str(self.choice.variant),
            "propensity": self.propensity,
            "context": list(self.context),
            "arms": self.arms,
        }


def pick(choices: Sequence[Choice], x: packaging.Floats, *, finished: bool, rng: np.random.Generator) -> Package | None:
    """One of a work's arms by the bandit; None where only one may be shown: nothing is chosen then."""
    may = [one for one in choices if packaging.may_show(spoiler=one.spoiler, finished=finished)]
    if len(may) < 2:
        return None
    arms = [one.arm if one.arm is not None and len(one.arm.b) == len(x) else Arm.new(len(x)) for one in may]
    p = packaging.propensities(arms, x, rng, watched=[one.watched for one in may])
    drawn = packaging.draw(p, rng)
    return Package(may[drawn], float(p[drawn]), tuple(x.tolist()), len(may))


SIGNATURE: Final = """
SELECT (SELECT (count(*), max(changed_at)) FROM app.packaging_variant)::text
    || (SELECT (count(*), max(changed_at)) FROM app.packaging_arm)::text AS signature
"""
OFFERED: Final = f"""
SELECT v.work_id, v.variant, v.title, v.thumbnail_cid, v.preview, v.spoiler,
       coalesce(a.clicks, 0) < {packaging.CLICKS_AT_LEAST} AND EXISTS (
           SELECT FROM app.packaging_arm r WHERE r.work_id = v.work_id AND r.retired_at IS NOT NULL) AS watched,
       a.inverse, a.b, a.shown, a.clicks, a.satisfied
FROM app.packaging_variant v JOIN chain.work w ON w.work_id = v.work_id AND w.owner = v.owner
LEFT JOIN app.packaging_arm a ON a.work_id = v.work_id AND a.variant = v.variant
WHERE a.retired_at IS NULL
UNION ALL
SELECT v.work_id, a.variant, NULL, NULL, NULL, false, false, a.inverse, a.b, a.shown, a.clicks, a.satisfied
FROM (SELECT DISTINCT work_id FROM app.packaging_variant) v
JOIN app.packaging_arm a ON a.work_id = v.work_id AND a.variant = '00000000-0000-0000-0000-000000000000'
ORDER BY 1, 2
"""
"""Variants of who still owns the work; what was retired is shown to nobody."""


class Shelf:
    """One process's variants, read anew when they changed, at most every REFRESH_S."""

    def __init__(self) -> None:
        self._choices: dict[int, list[Choice]] = {}
        self._signature: str | None = None
        self._read_at = -float("inf")

    async def choices(self, connection: AsyncConnection[DictRow], *, tick: float) -> Mapping[int, Sequence[Choice]]:
        """Work -> its arms, its own title and picture first; works without variants are left out."""
        if tick - self._read_at >= REFRESH_S:
            self._read_at = tick
            row = await (await connection.execute(SIGNATURE)).fetchone()
            signature = row["signature"] if row else None
            if signature != self._signature:
                rows = await (await connection.execute(OFFERED)).fetchall()
                self._choices, self._signature = choices_of(rows), signature
        return self._choices


def choices_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, list[Choice]]:
    """Work -> its arms from the rows of OFFERED."""
    found: dict[int, list[Choice]] = {}
    for row in rows:
        arm = None
        if row["b"] is not None:
            size = len(row["b"])
            arm = Arm(
                np.array(row["inverse"]).reshape(size, size),
                np.array(row["b"]),
                row["shown"],
                row["clicks"],
                row["satisfied"],
            )
        arms = found.setdefault(row["work_id"], [])
        said = {name: row[name] for name in ("title", "thumbnail_cid", "preview", "spoiler")}
        arms.append(Choice(uuid.UUID(str(row["variant"])), **said, arm=arm, watched=row["watched"]))
    for arms in found.values():
        if arms[0].variant != ORIGINAL:
            arms.insert(0, Choice(ORIGINAL, None, None, None, False, None))
    return found


# --- learned ----------------------------------------------------------------------------------------------------------


def quiet(what: str, done: int, of: int) -> None:
    """Tell nobody."""


def learn_on(unit: Unit, *, now: datetime, said: Said = quiet) -> int:
    """Learn from the impressions whose window has ended since; how many. Each slice is one transaction.

    Nothing happens where another process is at it. Broken off, it goes on from its last slice.
    """
    learned, slices = 0, 0
    until = now - WINDOW
    while True:
        with unit() as session:
            if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
                return learned
            cursor = session.get(PackagingCursor, 1)
            if cursor is None:
                return learn_anew(session, now=now, said=said)
            after = cursor.upto
            if after >= until:
                return learned
            upto = min(after + SLICE, until)
            arms = _arms(session)
            changed, count = _fold(session, arms, after, upto, now)
            _keep(session, arms, changed, now)
            _reach(session, upto, made_at=cursor.made_at)
            learned, slices = learned + count, slices + 1
            said("learn from impressions", slices, slices + max(-(-(until - upto) // SLICE), 0))


def learn_anew(session: Session, *, now: datetime, said: Said = quiet) -> int:
    """Forget all that was learned and learn it again from what is kept and may be read now; how many impressions.

    For when rows that it followed from must leave it. What was retired stays retired.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    until, arms, count = now - WINDOW, dict[tuple[int, uuid.UUID], Arm](), 0
    after = until - timedelta(days=KEPT_DAYS)
    slices = -(-(until - after) // SLICE)
    for done in range(slices):
        upto = min(after + SLICE, until)
        count += _fold(session, arms, after, upto, now)[1]
        after = upto
        said("learn from impressions anew", done + 1, slices)
    known = {(row.work_id, row.variant): row for row in session.scalars(select(PackagingArm))}
    for key, row in known.items():
        if key not in arms and row.retired_at is None:
            session.delete(row)
    session.flush()
    _keep(session, arms, set(arms), now)
    _reach(session, until, made_at=now)
    return count


def _arms(session: Session) -> dict[tuple[int, uuid.UUID], Arm]:
    found = {}
    for row in session.scalars(select(PackagingArm)):
        size = len(row.b)
        inverse = np.array(row.inverse).reshape(size, size)
        found[row.work_id, row.variant] = Arm(inverse, np.array(row.b), row.shown, row.clicks, row.satisfied)
    return found


def _fold(
    session: Session, arms: dict[tuple[int, uuid.UUID], Arm], after: datetime, upto: datetime, now: datetime
) -> tuple[set[tuple[int, uuid.UUID]], int]:
    changed = set()
    rows = read(session, reads.PACKAGED, now=now, after=after, upto=upto)
    for row in rows:
        key, x = (row.work_id, row.variant), np.array(row.context, dtype=np.float64)
        arm = arms.get(key)
        if arm is None or len(arm.b) != len(x):  # another version's context begins anew
            arm = Arm.new(len(x))
        arms[key] = packaging.learn(arm, x, clicked=row.clicked, satisfied=row.satisfied)
        changed.add(key)
    return changed, len(rows)


def _keep(
    session: Session, arms: Mapping[tuple[int, uuid.UUID], Arm], changed: set[tuple[int, uuid.UUID]], now: datetime
) -> None:
    retired = _retired(session, arms, {work for work, _ in changed})
    for key in sorted(changed):
        arm = arms[key]
        row: dict[str, Any] = {
            "inverse": arm.inverse.ravel().tolist(),
            "b": arm.b.tolist(),
            "shown": arm.shown,
            "clicks": arm.clicks,
            "satisfied": arm.satisfied,
            "changed_at": now,
        }
        if key in retired:
            row |= {"retired_at": now, "retired_because": retired[key]}
            log.info("variant_retired", work=key[0], variant=str(key[1]))
        session.execute(
            insert(PackagingArm)
            .values(work_id=key[0], variant=key[1], **row)
            .on_conflict_do_update(index_elements=["work_id", "variant"], set_=row)
        )


def _retired(
    session: Session, arms: Mapping[tuple[int, uuid.UUID], Arm], works: set[int]
) -> dict[tuple[int, uuid.UUID], str]:
    """Which arms of these works are retired now, and why; the work's own title never is.

    Only what its owner offers now and the work's own count: arms of the past would thin the test out for ever.
    """
    query = select(PackagingArm.work_id, PackagingArm.variant).where(PackagingArm.retired_at.is_not(None))
    gone = {(row.work_id, row.variant) for row in session.execute(query)}
    query = select(PackagingVariant.work_id, PackagingVariant.variant).where(PackagingVariant.work_id.in_(works))
    offered = {(row.work_id, row.variant) for row in session.execute(query)} | {(work, ORIGINAL) for work in works}
    found = {}
    for work in sorted(works):
        keys = sorted(key for key in arms if key[0] == work and key in offered - gone)
        for one in packaging.misled([arms[key] for key in keys]):
            if keys[one.arm][1] != ORIGINAL:
                found[keys[one.arm]] = one.why
    return found


def _reach(session: Session, upto: datetime, *, made_at: datetime) -> None:
    row = {"upto": upto, "made_at": made_at}
    session.execute(insert(PackagingCursor).values(id=1, **row).on_conflict_do_update(index_elements=["id"], set_=row))
