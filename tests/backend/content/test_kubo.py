"""A real Kubo daemon behind the same interface: what is added there is what we say it is (row K1)."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.content.cid import CID, RAW
from backend.content.client import ContentDisagrees, KuboStore
from backend.content.store import ContentCorrupt, ContentMissing, ContentStore, ContentUnavailable
from stack.processes import free_port
from tests.backend.content.test_kubo_equality import FILES, bytes_of

pytestmark = pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning")

ROOT = Path(__file__).resolve().parents[3]


def kubo_binary() -> str | None:
    built = ROOT / ".tools" / "ipfs"
    return str(built) if built.exists() else shutil.which("ipfs")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon of our own: offline, own ports, own repository; its API's multiaddr."""
    binary = kubo_binary()
    if binary is None:
        pytest.skip("no Kubo: run `python3 scripts/setup.py --kubo` (needs Go) or put `ipfs` on PATH")
    folder = tmp_path_factory.mktemp("kubo")
    environment = os.environ | {"IPFS_PATH": str(folder / "repo"), "IPFS_TELEMETRY": "off"}

    def ipfs(*arguments: str) -> None:
        subprocess.run([binary, *arguments], env=environment, check=True, capture_output=True)

    api = f"/ip4/127.0.0.1/tcp/{free_port()}"
    ipfs("init", "--profile", "test")
    ipfs("config", "--json", "Addresses.Swarm", "[]")
    ipfs("config", "--json", "Provide.Enabled", "false")
    ipfs("config", "--json", "Plugins.Plugins.telemetry.Disabled", "true")
    # a node with other defaults: the parameters that decide a CID go with each call, so they must not matter
    ipfs("config", "--json", "Import", json.dumps({"CidVersion": 0, "UnixFSRawLeaves": False}))
    ipfs("config", "Import.UnixFSChunker", "size-65536")
    ipfs("config", "--json", "Import.UnixFSFileMaxLinks", "20")
    ipfs("config", "Addresses.API", api)
    ipfs("config", "Addresses.Gateway", f"/ip4/127.0.0.1/tcp/{free_port()}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "daemon", "--offline"], env=environment, stdout=log, stderr=log)
    try:
        wait_until_it_answers(api, process, folder / "log")
        yield api
    finally:
        process.terminate()
        process.wait(20)


def wait_until_it_answers(api: str, process: subprocess.Popen[bytes], log: Path) -> None:
    store = KuboStore(api, timeout_s=5)
    deadline = time.monotonic() + 60
    while True:
        try:
            store.version()
        except ContentUnavailable:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the IPFS daemon did not start:\n{log.read_text()[-2000:]}") from None
            threading.Event().wait(0.1)  # the daemon has no other sign of being ready than its answer
        else:
            store.close()
            return


@pytest.fixture
def store(daemon: str) -> Iterator[KuboStore]:
    store = KuboStore(daemon)
    yield store
    store.close()


def noise(length: int) -> bytes:
    return b"".join(bytes_of(length))


@pytest.mark.kubo
@pytest.mark.feature("K1", via="cli")
@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 1_310_737])
def test_a_real_node_agrees_on_the_cid_and_gives_the_bytes_back(store: KuboStore, size: int) -> None:
    data = noise(size)
    link = store.add([data])
    recorded = next(row for row in FILES if row["bytes"] == size and row["layout"] == "v1-raw")
    assert str(link.cid) == recorded["cid"]
    assert store.size(link.cid) == size
    assert b"".join(store.cat(link.cid)) == data
    assert b"".join(store.cat(link.cid, size // 3, size // 2)) == data[size // 3 : size // 2]


@pytest.mark.kubo
@pytest.mark.feature("K1", via="cli")
def test_pins_hold_through_garbage_collection_and_unpinned_content_goes(store: KuboStore) -> None:
    kept, dropped = store.add([noise(300_000)]), store.add([noise(300_001)])
    assert store.is_pinned(kept.cid)
    assert store.is_pinned(dropped.cid)
    store.unpin(dropped.cid)
    store.unpin(dropped.cid)
    assert not store.is_pinned(dropped.cid)
    store.collect_garbage()
    assert b"".join(store.cat(kept.cid)) == noise(300_000)
    with pytest.raises(ContentMissing):
        store.cat(dropped.cid)


@pytest.mark.kubo
def test_content_that_was_added_without_a_pin_can_be_pinned_later(store: KuboStore) -> None:
    link = store.add([noise(600_000)], pin=False)
    assert not store.is_pinned(link.cid)
    store.pin(link.cid)
    assert store.is_pinned(link.cid)


@pytest.mark.kubo
def test_an_unknown_cid_is_missing_at_once(store: KuboStore) -> None:
    unknown = CID.of(b"nobody has this", RAW)
    assert not store.is_pinned(unknown)
    with pytest.raises(ContentMissing):
        store.size(unknown)
    with pytest.raises(ContentMissing):
        store.pin(unknown)
    store.unpin(unknown)


def test_kubo_store_is_a_content_store() -> None:
    store: ContentStore = KuboStore("/ip4/127.0.0.1/tcp/1")
    with pytest.raises(ContentUnavailable, match="is `ipfs daemon` running"):
        store.is_pinned(CID.of(b"x", RAW))


class Liar(http.server.BaseHTTPRequestHandler):
    """A node that answers in Kubo's shapes and lies in content."""

    def do_POST(self) -> None:
        body: Any = b"not the block that was asked for"
        if "/add" in self.path:
            body = json.dumps({"Name": "x", "Hash": str(CID.of(b"something else", RAW)), "Size": "1"}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while self.headers.get("Transfer-Encoding") == "chunked" and self.rfile.readline() not in (b"0\r\n", b""):
            pass
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_node_that_lies_is_found_out() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store = KuboStore(f"/ip4/127.0.0.1/tcp/{server.server_port}")
        with pytest.raises(ContentDisagrees, match="check the node's version"):
            store.add([b"hello"])
        with pytest.raises(ContentCorrupt, match="another hash"):
            store.cat(CID.of(b"hello", RAW))
        store.close()
    finally:
        server.shutdown()
        server.server_close()
