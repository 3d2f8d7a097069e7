"""When the chain has a work, its draft's files become public; when a reorganisation takes it, they are sealed again.

    sealed -> publishing -> published -> public       asked for by nobody but the chain: an intent publishes nothing
    publishing, published -> sealed                   the registration is gone, and the mirror has come past its block
    publishing -> lost                                a sealed file is not there, or is damaged

`publishing` is written down before anything is put in the content store, so that a process that is killed there leaves
nothing public that nobody knows of: the next one goes on, or takes it back. The sealed files stay until the
registration is final and an hour old; from then on (`public`) nothing takes it back. Only who registers their own
draft's very content and metadata makes it public: a registration that somebody copied from theirs does not.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import RowMapping, delete, func, select, text, update
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.cid import CID
from backend.content.store import ContentError, ContentStore
from backend.errors import Unavailable
from backend.models.accounts import Account
from backend.models.content import Content
from backend.models.works import Draft
from backend.vault.vault import NoKey, Tampered, Vault
from backend.works.drafts import PARTS, DraftFileLost, DraftFiles, index_of, opened

log = structlog.get_logger()

Unit = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction, committed at its end."""
At = Callable[[str], None]
"""Told at each labelled point, so that a test can kill the process there."""
POINTS: Final = ("marked", "stored", "published", "unpinned", "sealed_again")
KEPT_SEALED: Final = timedelta(hours=1)
"""How long a final work's files are kept sealed as well: longer than a backup that began before takes."""


def nothing(_point: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Means:
    """What publishing is done with."""

    unit: Unit
    store: ContentStore
    vault: Vault
    files: DraftFiles
    at: At = nothing


def drafts_of(session: Session, vault: Vault, works: Sequence[RowMapping]) -> Mapping[int, list[uuid.UUID]]:
    """Work -> the drafts of whoever registered it, of the very content, whose files are not public yet."""
    by_index = {index_of(vault, bytes(work["content_hash"])): work for work in works}
    query = (
        select(Draft.id, Draft.content_index, Account.wallet)
        .join(Account, Account.id == Draft.account_id)
        .where(Draft.content_index.in_(by_index), Draft.files.in_(("sealed", "publishing")))
    )
    found: dict[int, list[uuid.UUID]] = {}
    for draft_id, index, wallet in session.execute(query):
        if wallet == by_index[index]["registrant"]:
            found.setdefault(int(by_index[index]["work_id"]), []).append(draft_id)
    return found


def publish(means: Means, work: RowMapping, draft_id: uuid.UUID) -> bool:
    """Put a registered draft's files into the content store; False when that has to be tried again."""
    try:
        if _mark(means, work, draft_id):
            means.at("marked")
            _store(means, draft_id)
            means.at("published")
    except Unavailable as error:
        log.warning("draft_not_published", work=int(work["work_id"]), reason=str(error))
        return False
    except DraftFileLost as error:
        log.error("draft_file_lost", work=int(work["work_id"]), reason=str(error))
        with means.unit() as session:
            session.execute(update(Draft).where(Draft.id == draft_id).values(files="lost"))
    except (NoKey, Tampered) as error:  # erased meanwhile, or changed by somebody: nothing of it is shown
        log.error("draft_not_opened", work=int(work["work_id"]), reason=str(error))
    return True


def _mark(means: Means, work: RowMapping, draft_id: uuid.UUID) -> bool:
    """Write down that a draft is being published; False when this registration is not of this draft."""
    with means.unit() as session:
        draft = _locked(session, draft_id)
        if draft is None:
            return False
        prepared = opened(means.vault, draft)
        if CID.parse(prepared.file("metadata").cid).digest != bytes(work["registered_digest"]):
            return False
        draft.files = "publishing"
        draft.content_hash, draft.cid_digest = work["content_hash"], work["registered_digest"]
        draft.seen_block, draft.cids = int(work["created_block"]), prepared.cids
        draft.published_at = func.now()
        return True


def _store(means: Means, draft_id: uuid.UUID) -> None:
    with means.unit() as session:
        draft = _locked(session, draft_id)
        if draft is None:
            return
        prepared = opened(means.vault, draft)
        for part in PARTS:
            file = prepared.file(part)
            pieces = means.files.read(draft.account_id, draft.id, part)
            kept = content.keep(session, means.store, pieces, file.media_type)
            if kept.cid != file.cid:
                means.store.unpin(CID.parse(kept.cid))
                raise DraftFileLost(f"its {part} file has the content id {kept.cid} and not {file.cid}")
        draft.files = "published"
        means.at("stored")


def _locked(session: Session, draft_id: uuid.UUID) -> Draft | None:
    return session.scalar(select(Draft).where(Draft.id == draft_id).with_for_update(of=Draft))


# --- taking back ------------------------------------------------------------------------------------------------------

REGISTERED: Final = """EXISTS (
    SELECT FROM chain.work_registry_work_registered r JOIN app.account a ON a.address = r.owner
    WHERE a.id = d.account_id AND r.content_hash = d.content_hash AND r.cid_digest = d.cid_digest)"""
"""Whether the chain has a draft `d` as its author registered it."""


_GONE: Final = text(f"""
SELECT d.id FROM app.draft d
WHERE d.files IN ('publishing', 'published') AND NOT {REGISTERED}
  AND d.seen_block <= (SELECT head_number FROM chain.cursor)
  AND (CAST(:account AS uuid) IS NULL OR d.account_id = :account)
""")


def gone(session: Session, account_id: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Published drafts, of one account or of all, whose registration the chain has no more."""
    return list(session.scalars(_GONE, {"account": account_id}))


def take_back(means: Means) -> int:
    """Seal again what a reorganisation took; how many drafts. A mirror that is being made again takes nothing."""
    with means.unit() as session:
        taken = gone(session)
    for draft_id in taken:
        try:
            with means.unit() as session:
                _seal_again(session, means, draft_id)
            means.at("sealed_again")
        except ContentError as error:
            log.warning("draft_not_sealed_again", draft=str(draft_id), reason=str(error))
    return len(taken)


def _seal_again(session: Session, means: Means, draft_id: uuid.UUID) -> None:
    draft = _locked(session, draft_id)
    if draft is None:
        return
    if not means.files.whole(draft.account_id, draft.id):
        log.error("draft_file_lost", draft=str(draft_id), reason="what is public is the only copy, and stays")
        draft.files = "public"
        return
    unpublish(session, means.store, unshared(session, [draft_id]), at=means.at)
    draft.files = "sealed"
    draft.content_hash = draft.cid_digest = draft.seen_block = draft.cids = draft.published_at = None


_UNSHARED: Final = text("""
SELECT f.cid FROM (SELECT DISTINCT unnest(d.cids) AS cid FROM app.draft d WHERE d.id = ANY(:drafts)) f
LEFT JOIN app.content c ON c.cid = f.cid
WHERE NOT EXISTS (SELECT FROM app.draft o WHERE f.cid = ANY(o.cids) AND NOT o.id = ANY(:drafts))
  AND NOT EXISTS (SELECT FROM app.draft d
                  WHERE d.id = ANY(:drafts) AND f.cid = ANY(d.cids) AND c.added_at < d.published_at)
  AND NOT EXISTS (SELECT FROM chain.revenue_ledger_split_activated s WHERE s.tree_digest = c.sha256)
  AND NOT EXISTS (SELECT FROM chain.revenue_ledger_share_reassigned s WHERE s.tree_digest = c.sha256)
  AND NOT EXISTS (SELECT FROM chain.work w WHERE w.cid_digest = c.sha256)
""")


def unshared(session: Session, drafts: Sequence[uuid.UUID]) -> list[str]:
    """The public files of drafts that are public for these drafts alone: no other draft put them there, the chain names
    them for nothing else, and they were not here before."""
    return list(session.scalars(_UNSHARED, {"drafts": list(drafts)}))


def unpublish(session: Session, store: ContentStore, cids: Sequence[str], *, at: At = nothing) -> None:
    """Let go of files in the content store, and of their rows. Raises ContentError."""
    if cids:
        content.let_go(store, cids)
        at("unpinned")
        session.execute(delete(Content).where(Content.cid.in_(cids)).execution_options(synchronize_session=False))


def settle(session: Session, *, kept: timedelta = KEPT_SEALED) -> int:
    """Let final works be public for good; the sweep then removes what is sealed of them. How many drafts."""
    values: dict[str, Any] = {"kept": kept}
    return len(session.execute(_SETTLED, values).all())


_SETTLED: Final = text(f"""
UPDATE app.draft d SET files = 'public'
WHERE d.files = 'published' AND d.published_at <= now() - CAST(:kept AS interval) AND {REGISTERED}
  AND d.seen_block <= (SELECT final_number FROM chain.cursor)
RETURNING d.id
""")
