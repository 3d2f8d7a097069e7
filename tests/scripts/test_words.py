"""What no tracked file may say: the way to a page that a clone lacks, a folder of one machine, a wrong launcher."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFUSED = (
    (
        re.compile(r"\bresearch/[a-z]+\.md|\b(?:DESIGN|SPEC|UX|STYLE)\.md|\.\./shared\b"),
        "a clone has no such page: say the reason itself, or name the page in docs/",
    ),
    (
        re.compile(r"(?<![\w./}>-])/(?:root|home|work)/\w"),
        "a folder of one machine",
    ),
    (
        re.compile(r"`troupe (?:dev|demo|status|doctor|logs|migrate|version)\b"),
        "the launcher lies in the checkout: `./troupe`",
    ),
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


def texts() -> dict[str, str]:
    """The tracked files that are text, this one left out."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {}
    for name in listed.splitlines():
        path = ROOT / name
        if path != Path(__file__).resolve() and path.is_file() and b"\0" not in (data := path.read_bytes()):
            found[name] = data.decode()
    return found


def refusals(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number}: {why}: {match[0]}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, why in REFUSED
        for match in pattern.finditer(line)
    ]


def test_no_file_says_what_leads_nowhere() -> None:
    found = texts()
    assert len(found) > 300
    assert [line for name, text in found.items() for line in refusals(name, text)] == []


@pytest.mark.parametrize(
    "line",
    [
        '"""The rule of research/money.md, part 4."""',
        "Whether every block may go (DESIGN.md section 10).",
        "see `../shared/UX`",
        'open("/home/somebody/notes")',
        "fix: run `troupe dev`",
    ],
)
def test_each_of_them_is_found(line: str) -> None:
    (said,) = refusals("a.py", f"first\n{line}")
    assert said.startswith("a.py:2: ")


@pytest.mark.parametrize(
    "line", ["GET /v1/work/7", "http://127.0.0.1/home/x", "sha256 of `troupe-log/1`", "./troupe dev"]
)
def test_what_only_looks_like_them_is_let_be(line: str) -> None:
    assert refusals("a.py", line) == []


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = {name: text for name, text in texts().items() if name.endswith(".md")}
    links = [(name, link) for name, text in pages.items() for link in LINK.findall(text)]
    assert len(links) > 20
    assert [(name, link) for name, link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
