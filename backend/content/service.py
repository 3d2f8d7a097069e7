"""Keeping files and finding them again: the store holds the bytes, the table says what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.content.cid import CID, InvalidCid
from backend.content.media import ALLOWED
from backend.content.store import BlockStore, ContentCorrupt, ContentMissing, ContentStore, ContentUnavailable
from backend.content.unixfs import Layout, import_file
from backend.errors import NotFound, Unavailable
from backend.models.content import Content
from backend.settings import Settings


def open_store(settings: Settings) -> ContentStore:
    """The content store that the settings name: a Kubo node, or the embedded one below the data folder."""
    return _open_store(settings.data_dir, settings.ipfs_api)


@lru_cache(maxsize=16)
def _open_store(data_dir: Path, ipfs_api: str | None) -> ContentStore:
    if ipfs_api is None:
        return BlockStore(data_dir / "content")
    from backend.content.client import KuboStore  # noqa: PLC0415 - half a second of imports that most don't need

    return KuboStore(ipfs_api)


@contextmanager
def store_errors() -> Iterator[None]:
    """Let a store's errors leave as problems."""
    try:
        yield
    except ContentMissing as error:
        raise NotFound(str(error), code="content_not_found", title="No such content") from error
    except ContentCorrupt as error:
        raise Unavailable(str(error), code="content_damaged", title="The content is damaged") from error
    except ContentUnavailable as error:
        raise Unavailable(
            f"{error}. Nothing was changed.", code="content_store_unavailable", title="The content store is away"
        ) from error


def keep(
    session: Session, store: ContentStore, pieces: Iterable[bytes], media_type: str, *, card_only: bool = False
) -> Content:
    """Add a file to the store, pin it, and note what it is. The same bytes again are the same content.

    `media_type` is the caller's finding about all of the bytes, one of `media.ALLOWED`; `card_only`: nothing but cards
    names it yet. The file stays in the store if the transaction fails: it is named by its content, so a second try
    finds it there.

    Raises:
        Unavailable: the store has no room, or does not answer.
    """
    if media_type not in ALLOWED:
        raise ValueError(f"{media_type} is not a type that is kept")
    sha = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            sha.update(piece)
            yield piece

    with store_errors():
        link = store.add(hashed())
    content = {
        "cid": str(link.cid),
        "sha256": sha.digest(),
        "size_bytes": link.content_bytes,
        "media_type": media_type,
        "card_only": card_only,
    }
    adding = insert(Content).values(**content)
    session.execute(
        adding.on_conflict_do_nothing()
        if card_only
        else adding.on_conflict_do_update(
            index_elements=["cid"], set_={"card_only": False}, where=Content.card_only.is_(True)
        )
    )
    return session.get_one(Content, content["cid"], populate_existing=True)


def let_go(store: ContentStore, cids: Iterable[str]) -> None:
    """Unpin files, and remove their blocks where the store is ours; a Kubo node collects when it likes.

    Raises ContentError.
    """
    for cid in cids:
        store.unpin(CID.parse(cid))
    if isinstance(store, BlockStore):
        store.collect_garbage()


def cid_of(pieces: Iterable[bytes]) -> str:
    """The content id that a file would have in the store; nothing is kept."""
    return str(import_file(pieces, lambda _cid, _block: None, Layout()).cid)


def find(session: Session, cid: str) -> Content:
    """The content of a CID in any of its texts. Raises NotFound for what this installation does not keep."""
    try:
        parsed = CID.parse(cid)
    except InvalidCid as error:
        raise NotFound(f"{cid!r:.100} is no content id: {error}.", code="content_not_found") from error
    content = session.get(Content, str(CID(1, parsed.codec, parsed.digest)))
    if content is None:
        raise NotFound(f"{parsed} is not kept here.", code="content_not_found", title="No such content")
    return content


def read_by_sha256(session: Session, store: ContentStore, digest: bytes, max_bytes: int) -> bytes | None:
    """The file with this sha256 (a metadata, tree or terms file that the chain names); None if it can't be had here.

    Asks the table first, so that a digest that a stranger wrote on chain never makes a Kubo node search the network.
    A damaged file is None too: the page that shows it says what is missing, and the rest of it stays right.
    """
    content = session.scalar(select(Content).where(Content.sha256 == digest).limit(1))
    if content is None or content.size_bytes > max_bytes:
        return None
    try:
        data = b"".join(store.cat(CID.parse(content.cid)))
    except (ContentMissing, ContentCorrupt, ContentUnavailable):
        return None
    return data if hashlib.sha256(data).digest() == digest else None
