"""H6: what `scripts.deploy` is told that cannot be: one sentence with the fix, exit status 1, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.deploy import manifest

ROOT = Path(__file__).resolve().parents[2]
FEATURE = pytest.mark.feature("Q5", via="cli")


@FEATURE
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no manifest at .*: set TROUPE_DEPLOYMENT, or deploy first"),
        (b"{", "is not JSON: bring back the manifest"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is no object: bring back"),
        (b'{"chainId": 1, "startBlock": 1}', "is without contracts, parameters: bring back"),
    ],
)
def test_H6_a_manifest_that_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "deployment.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit, match=said):
        manifest.read(file)


@FEATURE
def test_H6_a_folder_for_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cannot be read .*: set TROUPE_DEPLOYMENT"):
        manifest.read(tmp_path)


@FEATURE
@pytest.mark.parametrize("given", ["abc", "-1", "0x7a69", "1.5", "³", "9" * 5000])
def test_H6_a_chain_id_that_is_none(given: str) -> None:
    with pytest.raises(SystemExit, match="give the number of the chain, such as 31337"):
        manifest.stated_chain({"TROUPE_CHAIN_ID": given}, 31337)


@FEATURE
def test_H6_a_node_that_is_away() -> None:
    class Away:
        @property
        def chain_id(self) -> int:
            raise ConnectionError("refused at http://user:hunter2@127.0.0.1:1")

    with pytest.raises(SystemExit, match=r"the node does not answer .*: start it, or set TROUPE_RPC_URL") as ending:
        manifest.chain_of(SimpleNamespace(eth=Away()))
    assert "hunter2" not in str(ending.value)


@FEATURE
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("TROUPE_CHAIN_ID", "abc", "give the number of the chain"), ("TROUPE_RPC_URL", "ftp://x", "give an http")],
)
def test_H6_the_launcher_refuses_before_it_starts(name: str, value: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/brownie.py", "run", "deploy/verify", "--network", "troupe"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@FEATURE
@pytest.mark.slow
def test_H6_verify_without_a_node_ends_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/brownie.py", "run", "deploy/verify", "--network", "troupe"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TROUPE_RPC_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "the node does not answer" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
