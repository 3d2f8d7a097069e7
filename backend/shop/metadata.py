"""The metadata file of an item or character: one raw IPFS block of canonical JSON, whose sha256 the chain holds. Pure.

`name`, `description` and `image` are those of ERC-721 and ERC-1155, so that wallets show them.
"""

from __future__ import annotations

from typing import Any

from backend.works.metadata import canonical_json

FORMAT = "troupe-asset/1"


def asset_file(*, work_id: int, name: str, description: str, image_cid: str | None, image_type: str | None) -> bytes:
    """The file's bytes."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "description": description,
        "work_id": str(work_id),
    }
    if image_cid is not None:
        document |= {"image": f"ipfs://{image_cid}", "media": {"cid": image_cid, "type": image_type}}
    return canonical_json(document)
