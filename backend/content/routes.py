"""`GET /v1/content/{cid}`: the bytes of a work's media, metadata, tree or terms file, as they were registered."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from backend.content import service
from backend.content.cid import CID
from backend.content.media import ALLOWED, UNKNOWN, served_as
from backend.content.store import ContentStore
from backend.deps import DbSession, SettingsDep
from backend.errors import AppError, Problem

router = APIRouter(prefix="/v1/content", tags=["content"])

HEADERS: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "public, max-age=31536000, immutable",
    # nothing in here may run or reach out, whatever a browser takes it for
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
FILES: Final = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(ALLOWED | {UNKNOWN})}
"""The types of an answer, for OpenAPI."""
_RANGE: Final = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))$")


class RangeNotSatisfiable(AppError):
    """416: the range begins behind the end of the file."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            416, "range_not_satisfiable", "Range not satisfiable", f"The file has {size_bytes} bytes.", size=size_bytes
        )
        self.headers["Content-Range"] = f"bytes */{size_bytes}"


def get_store(settings: SettingsDep) -> ContentStore:
    """The content store of this process."""
    return service.open_store(settings)


Store = Annotated[ContentStore, Depends(get_store)]


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Start and stop (exclusive) of a Range header; None: send everything.

    One range of bytes is understood; several, other units and malformed ones are ignored, as RFC 9110 14.2 allows.
    Raises RangeNotSatisfiable.
    """
    match = _RANGE.match(header.strip()) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(size_bytes - int(suffix), 0), size_bytes
    else:
        start, stop = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size_bytes)
    return start, stop


@router.get(
    "/{cid}",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The whole file", "content": FILES},
        206: {"description": "The range that was asked for", "content": FILES},
        304: {"description": "Unchanged; a CID never changes"},
        404: {"model": Problem, "description": "`content_not_found`"},
        416: {"model": Problem, "description": "`range_not_satisfiable`"},
        503: {"model": Problem, "description": "`content_damaged`, `content_store_unavailable`"},
    },
)
@router.head("/{cid}", include_in_schema=False)
def get_content(
    cid: str,
    request: Request,
    session: DbSession,
    store: Store,
    *,
    range_header: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header(alias="If-Range")] = None,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """Stream a file by its content id, whole or one range of it.

    The type is told from the file's own bytes, never from its name. Nothing is served in a way that could run: text
    is plain text, and PDF is a download. Each block is checked against its hash before it is sent. A CID names its
    bytes for ever, so the answer may be cached without end.
    """
    content = service.find(session, cid)
    etag = f'"{content.cid}"'
    media_type, download = served_as(content.media_type)
    headers = HEADERS | {"ETag": etag, "Content-Disposition": "attachment" if download else "inline"}
    if if_none_match is not None and (if_none_match.strip() == "*" or etag in if_none_match):
        return Response(status_code=304, headers=headers)
    wanted = byte_range(range_header if if_range in (None, etag) else None, content.size_bytes)
    start, stop = wanted or (0, content.size_bytes)
    headers |= {"Content-Length": str(stop - start)}
    if wanted:
        headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{content.size_bytes}"}
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    with service.store_errors():
        body = store.cat(CID.parse(content.cid), start, stop)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=media_type)
