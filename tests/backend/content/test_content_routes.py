"""GET /v1/content/{cid} (rows K1, K2): ranges, caching, and nothing that runs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from backend.content import service
from backend.content.cid import CID, DAG_PB
from backend.content.media import PDF, TEXT
from backend.content.routes import RangeNotSatisfiable, byte_range
from backend.db import Database
from backend.settings import Settings
from tests.backend.conftest import Client

BIG = random.Random(3).randbytes(700_000)


@pytest.fixture
def keep(settings: Settings) -> Callable[[bytes, str], str]:
    """Keep a file; returns its CID."""

    def kept(data: bytes, media_type: str = TEXT) -> str:
        database = Database(settings.database_url.get_secret_value())
        with database.session() as session:
            cid = service.keep(session, service.open_store(settings), [data], media_type).cid
        database.dispose()
        return cid

    return kept


@pytest.mark.feature("K1", via="http")
def test_content_is_served_whole_with_what_a_cache_needs(client: Client, keep: Callable[..., str]) -> None:
    cid = keep(BIG, "video/mp4")
    answer = client.get(f"/v1/content/{cid}")
    assert (answer.status_code, answer.content) == (200, BIG)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(BIG))
    assert answer.headers["etag"] == f'"{cid}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    head = client.head(f"/v1/content/{cid}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(BIG))
    for match in (f'"{cid}"', f'"other", W/"{cid}"', "*"):
        unchanged = client.get(f"/v1/content/{cid}", headers={"If-None-Match": match})
        assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.feature("K2", via="http")
@pytest.mark.parametrize(
    ("media_type", "disposition"), [(TEXT, "inline"), ("image/png", "inline"), (PDF, "attachment")]
)
def test_content_never_runs(media_type: str, disposition: str, client: Client, keep: Callable[..., str]) -> None:
    headers = client.get(f"/v1/content/{keep(b'# <script>alert(1)</script>', media_type)}").headers
    assert headers["content-type"] == media_type
    assert headers["content-disposition"] == disposition
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]


def test_only_listed_types_are_kept(keep: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match="not a type"):
        keep(b"<svg/>", "image/svg+xml")


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=262100-262200", 262_100, 262_201),
    ("bytes=699999-", 699_999, 700_000),
    ("bytes=0-9999999", 0, 700_000),
    ("bytes=-1", 699_999, 700_000),
    ("bytes=-9999999", 0, 700_000),
]


@pytest.mark.parametrize(("header", "start", "stop"), RANGES)
def test_one_range_is_answered_with_its_bytes(
    header: str, start: int, stop: int, client: Client, keep: Callable[..., str]
) -> None:
    answer = client.get(f"/v1/content/{keep(BIG, 'video/mp4')}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, BIG[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BIG)}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "header", ["bytes=0-1,3-4", "lines=0-1", "bytes=5-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1-2", "0-1"]
)
def test_other_ranges_are_ignored(header: str) -> None:
    assert byte_range(header, 100) is None
    assert byte_range(None, 100) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=0-0", 0), ("bytes=-0", 9)]
)
def test_a_range_behind_the_end_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        byte_range(header, size)
    assert caught.value.headers["Content-Range"] == f"bytes */{size}"


def test_a_range_of_something_else_is_sent_whole(client: Client, keep: Callable[..., str]) -> None:
    cid = keep(b"0123456789")
    address = f"/v1/content/{cid}"
    assert client.get(address, headers={"Range": "bytes=2-3", "If-Range": f'"{cid}"'}).content == b"23"
    assert client.get(address, headers={"Range": "bytes=2-3", "If-Range": '"other"'}).content == b"0123456789"
    answer = client.get(address, headers={"Range": "bytes=20-"})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")


def test_the_same_content_has_one_address_in_every_form_of_its_cid(client: Client, keep: Callable[..., str]) -> None:
    cid = CID.parse(keep(BIG, "video/mp4"))
    assert cid.codec == DAG_PB
    old = CID(0, DAG_PB, cid.digest)
    answer = client.get(f"/v1/content/{old}", headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, BIG[:4])
    assert answer.headers["etag"] == f'"{cid}"'


@pytest.mark.parametrize(
    "cid",
    [
        "bafkreigu6cpfywxztismpyyezj4zputmwaeqc2l54cfetpqni2vvqonwcq",  # nobody added it
        "hello",
        "..%2f..%2fetc%2fpasswd",
        "b" * 400,
        "http:%2f%2f169.254.169.254%2flatest",
        "file:%2f%2f%2fetc%2fpasswd",
        "%F0%9F%8E%AD",
    ],
)
def test_what_is_not_kept_here_is_not_found_and_not_looked_for(
    cid: str, client: Client, keep: Callable[..., str]
) -> None:
    keep(b"something")
    answer = client.get(f"/v1/content/{cid}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("content_not_found", "not_found")


def test_an_inner_block_of_a_file_is_no_content_of_its_own(
    client: Client, keep: Callable[..., str], settings: Settings
) -> None:
    keep(BIG, "video/mp4")
    inner = next(
        path for path in (settings.data_dir / "content" / "blocks").glob("*/*") if path.stat().st_size == 262_144
    )
    assert client.get(f"/v1/content/{CID.raw(bytes.fromhex(inner.name))}").status_code == 404


def test_damaged_content_is_said_to_be_damaged(client: Client, keep: Callable[..., str], settings: Settings) -> None:
    cid = keep(b"once upon a time")
    block = next((settings.data_dir / "content" / "blocks").glob("*/*"))
    block.write_bytes(b"once upon a tim!")
    answer = client.get(f"/v1/content/{cid}")
    assert (answer.status_code, answer.json()["code"]) == (503, "content_damaged")
    block.unlink()
    assert client.get(f"/v1/content/{cid}").json()["code"] == "content_not_found"
    keep(b"once upon a time")
    assert client.get(f"/v1/content/{cid}").content == b"once upon a time"


def test_content_that_is_kept_twice_is_one(keep: Callable[..., str], client: Client) -> None:
    assert keep(b"the same") == keep(b"the same")
    assert client.get(f"/v1/content/{keep(b'the same')}").content == b"the same"
