"""Works that the chain has: lists, one work, where it comes from and what came of it, who holds its revenue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from eth_utils.address import to_checksum_address
from sqlalchemy import ColumnElement, RowMapping, null, select
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.cid import CID
from backend.content.store import ContentStore
from backend.errors import NotFound
from backend.mirror import Head
from backend.models.content import Content
from backend.models.works import WorkText
from backend.rewards.merkle import Node
from backend.works.known_trees import KnownTrees
from backend.works.metadata import MAX_BYTES, Described, describe
from backend.works.rules import Kind, Status
from backend.works.schemas import (
    LicenceOut,
    MediaOut,
    ParentOut,
    Provenance,
    ProvenanceEdge,
    ProvenanceNode,
    Relation,
    WorkOut,
    label_name,
)
from backend.works.splits import MAX_TREE_FILE_BYTES, Activated, Reassigned, Splits, fold
from backend.works.words import said_of
from indexer.models import event, view

MAX_DESCENDANTS: Final = 1_000
LEDGER: Final = "RevenueLedger"


def kind_or_number(kind: int) -> str:
    """The platform's word for a kind, or `kind-<number>` for one of somebody else's."""
    try:
        return Kind(kind).name.lower()
    except ValueError:
        return f"kind-{kind}"


def content_url(cid: str) -> str:
    """Where this API serves a content id."""
    return f"/v1/content/{cid}"


# --- works ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkFilter:
    """Which works are wanted; None: any."""

    owner: bytes | None = None
    creator: bytes | None = None
    kind: int | None = None


def list_works(session: Session, *, wanted: WorkFilter, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Works, newest first."""
    work = view("work")
    conditions: list[ColumnElement[bool]] = [
        work.c[name] == value
        for name, value in (("owner", wanted.owner), ("creator", wanted.creator), ("kind", wanted.kind))
        if value is not None
    ]
    if before is not None:
        conditions.append(work.c.work_id < before)
    query = select(work).where(*conditions).order_by(work.c.work_id.desc()).limit(limit)
    return session.execute(query).mappings().all()


def find_work(session: Session, work_id: int) -> RowMapping:
    """One work. Raises NotFound."""
    work = view("work")
    row = session.execute(select(work).where(work.c.work_id == work_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no work {work_id} on chain.", code="work_not_found", work_id=work_id)
    return row


def show_works(session: Session, head: Head, rows: Sequence[RowMapping]) -> list[WorkOut]:
    """Works as they are answered: the chain's facts, and what their metadata files say."""
    said = said_of(session, rows)
    parents = _parents(session, [int(row["work_id"]) for row in rows])
    return [_show_work(row, said.get(int(row["work_id"])), parents.get(int(row["work_id"]), []), head) for row in rows]


def _show_work(row: RowMapping, said: WorkText | None, parents: list[ParentOut], head: Head) -> WorkOut:
    said = said or WorkText(tags=[], ai_tools=[])
    media = None
    if said.media_cid is not None:
        media = MediaOut(cid=said.media_cid, url=content_url(said.media_cid), media_type=said.media_type)
    return WorkOut(
        work_id=int(row["work_id"]),
        title=said.title,
        description=said.description,
        kind=kind_or_number(row["kind"]),
        owner=row["owner"],
        creator=row["creator"],
        ai_tools=list(said.ai_tools),
        licence_id=int(row["licence_id"]),
        metadata_cid=str(CID.raw(row["cid_digest"])),
        media=media,
        duration_ms=said.duration_ms,
        language=said.language,
        tags=list(said.tags),
        parents=parents,
        **_facts(row, head),
    )


def _facts(row: RowMapping, head: Head) -> dict[str, Any]:
    """What the chain says of a work, the same wherever it is shown."""
    return {
        "ai_label": label_name(row["ai_label"]),
        "status": Status(row["status"]).name.lower(),
        "content_hash": row["content_hash"],
        "stage": head.stage_of(row["created_block"]),
        "registered_at": datetime.fromtimestamp(row["created_at"], UTC),
        "block": int(row["created_block"]),
        "tx_hash": row["created_tx"],
    }


def described(session: Session, store: ContentStore, digests: Sequence[bytes]) -> dict[bytes, Described]:
    """What the metadata files with these digests say; those that are not kept here are left out."""
    kept = session.scalars(select(Content.sha256).where(Content.sha256.in_(digests))).all()
    found: dict[bytes, Described] = {}
    for digest in set(kept):
        data = content.read_by_sha256(session, store, digest, MAX_BYTES)
        if data is not None:
            found[digest] = describe(data)
    return found


def _parents(session: Session, work_ids: Sequence[int]) -> dict[int, list[ParentOut]]:
    derivation = view("derivation").c
    query = select(
        derivation.work_id, derivation.parent_id, derivation.share_bps, derivation.absolute, derivation.licence_id
    ).where(derivation.work_id.in_(work_ids))
    found: dict[int, list[ParentOut]] = {}
    for row in session.execute(query.order_by(derivation.work_id, derivation.parent_id)):
        parent = ParentOut(
            work_id=int(row.parent_id),
            share_bps=int(row.share_bps),
            absolute=row.absolute,
            licence_id=int(row.licence_id),
        )
        found.setdefault(int(row.work_id), []).append(parent)
    return found


# --- provenance (row P1) ----------------------------------------------------------------------------------------------


def provenance(session: Session, head: Head, work_id: int, *, max_descendants: int = MAX_DESCENDANTS) -> Provenance:
    """All ancestors of a work and its descendants up to a bound, with the derivations between them. Raises NotFound."""
    find_work(session, work_id)
    ancestors = _ancestors(session, work_id)
    descendants = _nearest_descendants(session, work_id, limit=max_descendants + 1)
    truncated = len(descendants) > max_descendants
    relations: dict[int, Relation] = dict.fromkeys(descendants[:max_descendants], "descendant")
    relations |= dict.fromkeys(ancestors, "ancestor")
    relations[work_id] = "self"
    work, derivation = view("work"), view("derivation")
    ids = list(relations)
    rows = session.execute(select(work).where(work.c.work_id.in_(ids)).order_by(work.c.work_id)).mappings()
    links = session.execute(
        select(derivation)
        .where(derivation.c.work_id.in_(ids), derivation.c.parent_id.in_(ids))
        .order_by(derivation.c.work_id, derivation.c.parent_id)
    ).mappings()
    return Provenance(
        work_id=work_id,
        nodes=[
            ProvenanceNode(
                work_id=int(row["work_id"]),
                relation=relations[int(row["work_id"])],
                creator=row["creator"],
                owner=row["owner"],
                licence_id=int(row["licence_id"]),
                **_facts(row, head),
            )
            for row in rows
        ],
        edges=[
            ProvenanceEdge(
                work_id=int(row["work_id"]),
                parent_id=int(row["parent_id"]),
                share_bps=int(row["share_bps"]),
                absolute=row["absolute"],
                licence_id=int(row["licence_id"]),
            )
            for row in links
        ],
        truncated=truncated,
        as_of=head.as_of,
    )


def _ancestors(session: Session, work_id: int) -> list[int]:
    """All ancestors. The walk keeps ids alone: with depths, as in the view `ancestor`, dense graphs are quadratic."""
    derivation = view("derivation").c
    reached = select(derivation.parent_id).where(derivation.work_id == work_id).cte("reached", recursive=True)
    reached = reached.union(select(derivation.parent_id).join(reached, derivation.work_id == reached.c.parent_id))
    return [int(found) for found in session.scalars(select(reached.c.parent_id))]


def _nearest_descendants(session: Session, work_id: int, *, limit: int) -> list[int]:
    """Descendants, nearest first. The walk ends at the limit, where the view `descendant` would go on to the end."""
    derivation = view("derivation").c
    reached = select(derivation.work_id).where(derivation.parent_id == work_id).cte("reached", recursive=True)
    reached = reached.union(select(derivation.work_id).join(reached, derivation.parent_id == reached.c.work_id))
    return [int(found) for found in session.scalars(select(reached.c.work_id).limit(limit))]


# --- splits -----------------------------------------------------------------------------------------------------------


def split_events(session: Session, work_id: int) -> list[Reassigned | Activated]:
    """A work's split events in chain order, read by one statement: those of one state of the mirror."""
    moved, live = event(LEDGER, "ShareReassigned").c, event(LEDGER, "SplitActivated").c
    place, none = ("block_number", "log_index"), null()
    moves = select(
        *(moved[name] for name in place),
        *(moved.position, moved.account, moved.weight, moved.new_hash, moved.tree_digest, moved.proof),
        *(none.label("version"), none.label("root"), none.label("total_weight")),
    ).where(moved.work_id == work_id)
    versions = select(
        *(live[name] for name in place),
        *(none, none, none, none, live.tree_digest, none),
        *(live.version, live.root, live.total_weight),
    ).where(live.work_id == work_id)
    return [
        _activated(row) if row["position"] is None else _reassigned(row)
        for row in session.execute(moves.union_all(versions).order_by(*place)).mappings()
    ]


def _reassigned(row: RowMapping) -> Reassigned:
    return Reassigned(
        position=int(row["position"]),
        account=to_checksum_address(row["account"]),
        weight=int(row["weight"]),
        new_hash=row["new_hash"],
        tree_digest=row["tree_digest"],
        proof=tuple(Node(bytes.fromhex(node["hash"][2:]), int(node["sum"])) for node in row["proof"]),
    )


def _activated(row: RowMapping) -> Activated:
    return Activated(
        version=int(row["version"]),
        root=row["root"],
        total_weight=int(row["total_weight"]),
        tree_digest=row["tree_digest"],
    )


_trees = KnownTrees()


def splits_of(session: Session, store: ContentStore, work_id: int) -> Splits:
    """All split versions of a work, and what is pending, rebuilt from its events and the tree files that are kept here.

    Where the first file is not, the account that registered the work is tried as the holder of all of it. A work that
    isn't on chain has no version.
    """
    work = view("work").c
    registrant = session.scalar(select(work.registrant).where(work.work_id == work_id))  # None: work 0, the platform's
    return fold(
        split_events(session, work_id),
        lambda digest: content.read_by_sha256(session, store, digest, MAX_TREE_FILE_BYTES),
        sole_holder=None if registrant is None else to_checksum_address(registrant),
        known=_trees.get,
    )


def live_split(session: Session, work_id: int) -> RowMapping:
    """The live version's row of the view `split`. Raises NotFound."""
    split = view("split")
    query = select(split).where(split.c.work_id == work_id).order_by(split.c.version.desc()).limit(1)
    row = session.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no work {work_id} on chain.", code="work_not_found", work_id=work_id)
    return row


# --- licences ---------------------------------------------------------------------------------------------------------


def list_licences(session: Session, *, after: int, limit: int) -> Sequence[RowMapping]:
    """Licences, oldest first."""
    licence = view("licence")
    query = select(licence).where(licence.c.licence_id > after).order_by(licence.c.licence_id).limit(limit)
    return session.execute(query).mappings().all()


def find_licence(session: Session, licence_id: int) -> RowMapping:
    """One licence. Raises NotFound."""
    licence = view("licence")
    row = session.execute(select(licence).where(licence.c.licence_id == licence_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no licence {licence_id} on chain.", code="licence_not_found")
    return row


def show_licences(session: Session, rows: Sequence[RowMapping]) -> list[LicenceOut]:
    """Licences as they are answered, with a link to the full terms where they are kept here."""
    hashes = [row["terms_hash"] for row in rows]
    kept = dict(session.execute(select(Content.sha256, Content.cid).where(Content.sha256.in_(hashes))).all())
    return [
        LicenceOut(
            **{name: row[name] for name in LicenceOut.model_fields if name not in ("terms_url", "created_at")},
            terms_url=content_url(kept[row["terms_hash"]]) if row["terms_hash"] in kept else None,
            created_at=datetime.fromtimestamp(row["block_time"], UTC),
        )
        for row in rows
    ]
