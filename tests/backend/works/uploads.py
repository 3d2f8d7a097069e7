"""What a client sends to POST /v1/works/drafts."""

from __future__ import annotations

import json
from typing import Any

from httpx import Response
from starlette.testclient import TestClient

STORY = b"The curtain rises on an empty stage.\n"


def said(**changes: Any) -> dict[str, Any]:
    """A draft's metadata; None takes a field out."""
    fields = {"title": "Act one", "kind": "story", "ai_label": "human"} | changes
    return {name: value for name, value in fields.items() if value is not None}


def upload(
    client: TestClient,
    content: bytes = STORY,
    *,
    filename: str = "act-one.txt",
    mime: str = "text/plain",
    **changes: Any,
) -> Response:
    """Send a draft."""
    return client.post(
        "/v1/works/drafts",
        files={"file": (filename, content, mime)},
        data={"metadata": json.dumps(said(**changes))},
    )
