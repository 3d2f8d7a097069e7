"""docs/errors.md lists every code that the source can answer, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from backend.app import _HTTP_CODES
from backend.web.docs import ERRORS, render

BACKEND = Path(__file__).resolve().parents[2] / "backend"
ROW = re.compile(r"^\| `(\w+)` \| (\d{3}|NNN)[, 0-9]* \|", re.MULTILINE)
FIRST = {"Problem": 0, "refuse": 0, "AppError": 1, "Malformed": 1}
"""Which positional argument of a call is a code."""
RAISERS = {
    "DocumentError",
    "AppError",
    "Invalid",
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "Conflict",
    "Unavailable",
    "PreconditionFailed",
    "refused",
}


def codes_in(source: str) -> Iterator[str]:
    """The codes that a module can answer: given to an error, or an error's own default."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            place = FIRST.get(name)
            given = [node.args[place]] if place is not None and len(node.args) > place else []
            given += [word.value for word in node.keywords if word.arg == "code" and name in RAISERS | FIRST.keys()]
            if name == "__init__":  # an error class of its own hands its code to the root
                given += node.args[1:2]
            yield from (
                value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)
            )
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = [*node.args.args[len(node.args.args) - len(node.args.defaults) :], *node.args.kwonlyargs]
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            for argument, default in zip(arguments, defaults, strict=True):
                if argument.arg == "code" and isinstance(default, ast.Constant):
                    yield str(default.value)


def in_the_source() -> set[str]:
    files = sorted(BACKEND.rglob("*.py"))
    found = {code for path in files for code in codes_in(path.read_text())}
    return found | {code for code, _ in _HTTP_CODES.values()}


def test_the_page_lists_every_code_and_no_other() -> None:
    page = {code for code, _ in ROW.findall(ERRORS.read_text())} - {"http_NNN"}
    source = in_the_source()
    assert source - page == set(), "add a line to docs/errors.md for each"
    assert page - source == set(), "docs/errors.md has lines for codes that nothing answers"


def test_no_code_is_listed_twice() -> None:
    codes = [code for code, _ in ROW.findall(ERRORS.read_text())]
    assert len(codes) == len(set(codes))


def test_the_scan_finds_codes_in_each_of_their_forms() -> None:
    source = """
raise AppError(400, "one", "t", "d")
raise NotFound("d", code="two")
siwe.refused("field", "why", code="three")
problems.append(Problem("four", "d"))
class E(AppError):
    def __init__(self, code: str = "five") -> None:
        super().__init__(418, "six", "t", "d")
log.info("x", code="not one")
"""
    assert set(codes_in(source)) == {"one", "two", "three", "four", "five", "six"}


def test_a_problems_type_leads_to_its_line() -> None:
    page = render(ERRORS.read_text())
    for code in in_the_source():
        assert f'<tr id="{code}">' in page
