"""Drafts on their way to the chain, and the works that have arrived there."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.content import service as content
from backend.content.cid import CID
from backend.content.media import TEXT, RefusedMedia
from backend.content.store import ContentStore
from backend.content.uploads import Inspected, TooLarge, inspect, pieces
from backend.errors import AppError, Conflict, Invalid, NotFound
from backend.intents import Intent, call_intent
from backend.mirror import Head
from backend.models.accounts import Account
from backend.models.base import uuid7
from backend.models.works import Draft
from backend.works import drafts
from backend.works.consents import CONSENTS, attestations, is_live
from backend.works.drafts import SEALED_TOO, DraftFile, DraftFileLost, DraftFiles, Part, Prepared
from backend.works.metadata import MAX_BYTES, Contributor, Media, ParentShare, WorkMetadata
from backend.works.rules import AiLabel, Edge, Kind, Licence, Parent, Problem, Status, refusals
from backend.works.schemas import DraftIn
from backend.works.splits import DEFAULT_TOTAL_WEIGHT, Share, read_tree_file, tree_file, tree_of
from indexer.models import event, view

REGISTRY = "WorkRegistry"


# --- checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a registration would say, as far as the registry's rules look at it."""

    owner: bytes
    content_hash: bytes
    licence_id: int
    parents: Sequence[tuple[int, int]]
    """(work_id, share_bps)"""
    consents: Sequence[bytes] = ()
    """Uids of attestations."""


def check_registration(session: Session, wanted: Wanted, head: Head) -> None:
    """Refuse what the registry would refuse, as far as the mirror knows, with every reason.

    Raises:
        Conflict: a live work has this content; `work_id` names it.
        Invalid: the code is the first reason's; `errors` has them all.
    """
    registered = live_work(session, wanted.content_hash)
    if registered is not None:
        raise Conflict(
            f"This very file is registered already, as work {registered['work_id']}. If it is yours, use that work; if "
            "somebody took it from you, contest it with a commitment that you made before.",
            code="content_registered",
            title="The content is registered",
            work_id=int(registered["work_id"]),
        )
    problems = _problems(session, wanted, head)
    if problems:
        raise Invalid(
            " ".join(problem.detail for problem in problems),
            code=problems[0].code,
            title="The registry would refuse this work",
            errors=[
                {"location": "body.parents" if p.work_id is not None else "body", "message": p.detail, "code": p.code}
                for p in problems
            ],
        )


def _problems(session: Session, wanted: Wanted, head: Head) -> list[Problem]:
    ids = [work_id for work_id, _ in wanted.parents]
    works = {int(row["work_id"]): row for row in _rows(session, "work", "work_id", ids)}
    problems = [
        Problem("parent_unknown", f"There is no work {work_id} on chain, as of block {head.number}.", work_id)
        for work_id in ids
        if work_id not in works
    ]
    licence_ids = {int(row["licence_id"]) for row in works.values()} | {wanted.licence_id}
    licences = {int(row["licence_id"]): licence_of(row) for row in _rows(session, "licence", "licence_id", licence_ids)}
    if wanted.licence_id and wanted.licence_id not in licences:
        detail = f"There is no licence {wanted.licence_id}, as of block {head.number}."
        return [Problem("licence_unknown", detail), *problems]
    edges: dict[int, list[Edge]] = {}
    for row in _rows(session, "edge", "work_id", ids):
        edges.setdefault(int(row["work_id"]), []).append(
            Edge(int(row["parent_id"]), int(row["bps"]), bool(row["relative"]))
        )
    approved = _approvals(session, wanted, ids)
    parents = [
        Parent(
            work_id=work_id,
            share_bps=share_bps,
            status=Status(works[work_id]["status"]),
            licence=licences.get(int(works[work_id]["licence_id"])),
            edges=tuple(edges.get(work_id, ())),
            approved=work_id in approved,
        )
        for work_id, share_bps in wanted.parents
        if work_id in works
    ]
    ancestors = {edge.parent_id for parent in parents for edge in parent.edges}
    revoked = {
        int(row["work_id"]) for row in _rows(session, "work", "work_id", ancestors) if row["status"] == Status.REVOKED
    }
    problems += _consent_problems(session, wanted, head.time)
    return problems + refusals(parents, licences.get(wanted.licence_id), head.time, revoked)


def _rows(session: Session, name: str, column: str, values: Iterable[int]) -> Sequence[RowMapping]:
    """Rows of a chain view whose column has one of these values."""
    wanted = sorted(set(values))
    if not wanted:
        return []
    table = view(name)
    return session.execute(select(table).where(table.c[column].in_(wanted))).mappings().all()


def _consent_problems(session: Session, wanted: Wanted, now: int) -> list[Problem]:
    """Named consents that don't stand, or are to something else: the registry would refuse the registration whole."""
    known = attestations(session, wanted.consents)
    return [
        Problem(
            "consent_invalid",
            f"0x{uid.hex()} is no consent to this very file that stands now: ask who gave it to attest it anew.",
        )
        for uid in wanted.consents
        if uid not in known
        or bytes(known[uid]["schema"]) not in CONSENTS
        or bytes(known[uid]["subject"]) != wanted.content_hash
        or not is_live(known[uid], now)
    ]


def _approvals(session: Session, wanted: Wanted, parents: Sequence[int]) -> set[int]:
    """Parents whose owner approved exactly this derivation."""
    if not parents:
        return set()
    approval = event(REGISTRY, "DerivativeApproved").c
    query = select(approval.parent_id).where(
        approval.parent_id.in_(list(parents)),
        approval.deriver == wanted.owner,
        approval.content_hash == wanted.content_hash,
    )
    return {int(work_id) for work_id in session.scalars(query)}


def licence_of(row: RowMapping) -> Licence:
    """A row of the view `licence` as the rules take it."""
    return Licence(**{name: row[name] for name in Licence.__dataclass_fields__})


def live_work(session: Session, content_hash: bytes) -> RowMapping | None:
    """The work that this content is registered as; a revoked one's content is free again."""
    work = view("work")
    query = (
        select(work)
        .where(work.c.content_hash == content_hash, work.c.status != Status.REVOKED)
        .order_by(work.c.work_id.desc())
        .limit(1)
    )
    return session.execute(query).mappings().one_or_none()


# --- drafts -----------------------------------------------------------------------------------------------------------


def create_draft(
    session: Session, *, files: DraftFiles, head: Head, owner: Account, file: BinaryIO, said: DraftIn
) -> Draft:
    """Check a work, seal its media, split tree and metadata files, and note the draft.

    Nothing is kept unless every check passes. The content ids are those that the files will have when the work is
    registered and they are published (backend.works.publication).

    Raises:
        AppError 413 `upload_too_large`, 415 `media_type_refused`; Conflict and Invalid as check_registration;
        Unavailable when the disk is full.
    """
    seen = _inspect(file)
    parents = sorted((parent.work_id, parent.share_bps) for parent in said.parents)
    check_registration(session, Wanted(owner.address, seen.sha256, said.licence_id, parents, said.consents), head)

    shares = [Share(holder.account, holder.weight) for holder in said.contributors] or [
        Share(to_checksum_address(owner.address), DEFAULT_TOTAL_WEIGHT)
    ]
    tree = tree_file(shares)
    media = DraftFile(content.cid_of(pieces(file)), seen.media_type)
    split = DraftFile(content.cid_of([tree]), TEXT)
    described = WorkMetadata(
        title=said.title,
        description=said.description,
        kind=Kind[said.kind.upper()],
        media=Media(media.cid, seen.sha256, seen.size_bytes, seen.media_type, said.duration_ms),
        ai_label=AiLabel[said.ai_label.upper()],
        ai_tools=tuple(said.ai_tools),
        licence_id=said.licence_id,
        contributors=tuple(Contributor(share.account, share.weight) for share in shares),
        parents=tuple(ParentShare(work_id, share_bps) for work_id, share_bps in parents),
        split_cid=split.cid,
        language=said.language,
        tags=tuple(said.tags),
    ).encode()
    if len(described) > MAX_BYTES:
        raise Invalid(
            f"The metadata would have {len(described)} bytes; {MAX_BYTES} are allowed. Shorten the description.",
            code="metadata_too_large",
        )
    prepared = Prepared(
        title=said.title,
        kind=Kind[said.kind.upper()].value,
        ai_label=AiLabel[said.ai_label.upper()].value,
        licence_id=said.licence_id,
        parents=tuple(parents),
        consents=tuple(said.consents),
        content_hash=seen.sha256,
        salt=secrets.token_bytes(32),
        media=media,
        metadata=DraftFile(content.cid_of([described]), TEXT),
        split=split,
    )
    draft_id = uuid7()
    bodies: dict[Part, Iterable[bytes]] = {"media": pieces(file), "metadata": [described], "split": [tree]}
    with content.store_errors():
        for part, body in bodies.items():
            files.write(owner.id, draft_id, part, body)
    draft = drafts.made(files.vault, draft_id=draft_id, account_id=owner.id, prepared=prepared)
    session.add(draft)
    session.flush()
    session.refresh(draft)
    return draft


def draft_file(
    session: Session, *, store: ContentStore, files: DraftFiles, draft: Draft, part: Part
) -> tuple[DraftFile, Iterator[bytes]]:
    """One file of a draft, wherever it is by now, with its bytes.

    Raises NotFound for one that was lost, Unavailable for one that is damaged or whose store is away.
    """
    file = drafts.opened(files.vault, draft).file(part)
    with content.store_errors(), _file_errors():
        if draft.files in SEALED_TOO:
            return file, files.read(draft.account_id, draft.id, part)
        return file, store.cat(CID.parse(content.find(session, file.cid).cid))


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except DraftFileLost as error:
        raise NotFound(str(error), code="content_not_found", title="No such content") from error


def _inspect(file: BinaryIO) -> Inspected:
    try:
        return inspect(file)
    except TooLarge as error:
        raise AppError(413, "upload_too_large", "The file is too large", f"The file is refused: {error}.") from error
    except RefusedMedia as error:
        raise AppError(
            415,
            "media_type_refused",
            "This type of file is not taken",
            f"The file is refused: {error}. Taken are JPEG, PNG, GIF, WebP, MP4, WebM, MP3, Ogg, FLAC, WAV, PDF and "
            "plain UTF-8 text.",
        ) from error


def find_draft(session: Session, *, owner: Account, draft_id: uuid.UUID) -> Draft:
    """One of one's own drafts. Raises NotFound, for those of others too."""
    draft = session.get(Draft, draft_id)
    if draft is None or draft.account_id != owner.id:
        raise NotFound(f"You have no draft {draft_id}.", code="draft_not_found")
    return draft


def list_drafts(session: Session, *, owner: Account, before: uuid.UUID | None, limit: int) -> list[Draft]:
    """One's own drafts, newest first (their ids grow with time)."""
    query = select(Draft).where(Draft.account_id == owner.id).order_by(Draft.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Draft.id < before)
    return list(session.scalars(query))


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a draft on chain."""

    work_id: int
    block: int


def arrivals(session: Session, content_hashes: Sequence[bytes], owner: Account) -> dict[bytes, Arrival]:
    """For each content hash the work that this account registered it as, if there is one."""
    if not content_hashes:
        return {}
    work = view("work").c
    query = (
        select(work.content_hash, work.work_id, work.created_block)
        .where(work.content_hash.in_(content_hashes), work.registrant == owner.address)
        .order_by(work.work_id)
    )
    return {row.content_hash: Arrival(int(row.work_id), int(row.created_block)) for row in session.execute(query)}


def registration_intents(
    session: Session,
    *,
    store: ContentStore,
    files: DraftFiles,
    chain: ChainInfo,
    head: Head,
    owner: Account,
    draft: Draft,
) -> tuple[Intent, Intent]:
    """The transaction that registers a draft, and the commitment that may be sent before it. Neither publishes it.

    Everything is checked again: what was allowed when the draft was made may be forbidden now.

    Raises:
        Conflict `draft_registered`, `content_registered`; Invalid as check_registration; NotFound and Unavailable as
        draft_file.
    """
    prepared = drafts.opened(files.vault, draft)
    arrived = arrivals(session, [prepared.content_hash], owner).get(prepared.content_hash)
    if arrived is not None and live_work(session, prepared.content_hash) is not None:
        raise Conflict(
            f"This draft is registered already, as work {arrived.work_id}; nothing is left to sign.",
            code="draft_registered",
            title="The draft is registered",
            work_id=arrived.work_id,
        )
    check_registration(
        session,
        Wanted(owner.address, prepared.content_hash, prepared.licence_id, prepared.parents, prepared.consents),
        head,
    )

    _, bytes_of_tree = draft_file(session, store=store, files=files, draft=draft, part="split")
    with content.store_errors(), _file_errors():
        tree = b"".join(bytes_of_tree)
    address = to_checksum_address(owner.address)
    register = call_intent(
        chain,
        REGISTRY,
        "register",
        [register_params(address, prepared, read_tree_file(tree), sha256(tree).digest())],
        description=f"Register “{prepared.title}” as a work of {address}",
    )
    commit = call_intent(
        chain,
        REGISTRY,
        "commit",
        [commitment(chain, address, prepared.content_hash, prepared.salt)],
        description=f"Commit to the content of “{prepared.title}” without showing it",
    )
    return register, commit


def register_params(owner: str, draft: Prepared, shares: Sequence[Share], tree_digest: bytes) -> tuple[Any, ...]:
    """`RegisterParams` in the order of the contract's struct; the leaf that proves the root is the first holder's."""
    tree = tree_of(shares)
    proof = tree.proof(0)
    return (
        owner,
        draft.content_hash,
        CID.parse(draft.file("metadata").cid).digest,
        draft.kind,
        draft.ai_label,
        draft.licence_id,
        [work_id for work_id, _ in draft.parents],
        [share_bps for _, share_bps in draft.parents],
        tree.root,
        tree.total,
        tree_digest,
        (shares[0].account, shares[0].weight, proof.path, [tuple(node) for node in proof.nodes]),
        list(draft.consents),
        draft.salt,
    )


def commitment(chain: ChainInfo, owner: str, content_hash: bytes, salt: bytes) -> bytes:
    """`keccak256(abi.encode(chainid, registry, account, contentHash, salt))`."""
    types = ("uint256", "address", "address", "bytes32", "bytes32")
    return bytes(keccak(encode(types, (chain.chain_id, chain.address(REGISTRY), owner, content_hash, salt))))
