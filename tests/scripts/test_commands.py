"""The commands that the pages name are those there are: `make` targets, `./troupe` with its options, `python -m`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

from backend.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROSE = "\n".join(page.read_text() for page in PAGES)
EVERYWHERE = {"--state", "--debug"}
"""Said once below the table, for they hold for each command."""
OURS = ("indexer", "backend", "scripts", "bench")


def options_of_commands() -> dict[str, set[str]]:
    """Each command of `./troupe`, those of a group by both words, with its long options."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        whole = {f"{name} {below}": each for below, each in getattr(command, "commands", {}).items()}
        if not whole or command.invoke_without_command:
            whole[name] = command
        for words, each in whole.items():
            found[words] = {max(option.opts, key=len) for option in each.params if option.param_type_name == "option"}
    return found


def documented(page: str) -> list[tuple[str, set[str]]]:
    """The rows of the table of commands in docs/operations.md, with the options that the first cell names."""
    rows = re.findall(r"^\| `\./troupe ([a-z]+(?: [a-z]+)?)([^`]*)` \|", page, re.MULTILINE)
    return [(name, set(re.findall(r"--[a-z-]+", rest))) for name, rest in rows]


def targets() -> dict[str, str]:
    """The Makefile's targets with what `make help` says of each."""
    return dict(re.findall(r"^([a-z]+):[^#\n]*(?:## (.+))?$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_table_of_commands_names_each_command_once_with_all_its_options() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = documented(page)
    assert len(rows) == len(dict(rows))
    assert dict(rows) == {name: options - EVERYWHERE for name, options in options_of_commands().items()}
    assert all(page.count(f"`{option}") == 1 for option in EVERYWHERE)


def test_commands_in_the_text_exist_with_their_options() -> None:
    known = options_of_commands()
    named = re.findall(r"`\./troupe ([a-z]+(?: [a-z]+)?)([^`|]*)`", PROSE)
    assert len(named) > 10
    for words, rest in named:
        name = words if words in known else words.split()[0]
        assert name in known, f"there is no `./troupe {words}`"
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[name] | EVERYWHERE, f"{name}{rest}"


def test_every_make_target_has_its_line_of_help_and_is_phony() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(targets())
    assert [name for name, said in targets().items() if not said] == []


def test_make_targets_in_the_text_exist() -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", PROSE, re.MULTILINE))
    assert named > {"demo", "test", "ci", "audit"}
    assert named <= set(targets())


@pytest.mark.parametrize("module", sorted(set(re.findall(r"(?<!pytest) -m ([a-z_]+(?:\.[a-z_]+)*)", PROSE))))
def test_modules_in_the_text_exist_and_know_their_words(module: str) -> None:
    if module.partition(".")[0] not in OURS:
        assert module in {"pytest", "uvicorn", "celery"}
        return
    path = ROOT / module.replace(".", "/")
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(source.read_text())
    literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    options = {f"--{node.arg.replace('_', '-')}" for node in ast.walk(tree) if isinstance(node, ast.arg)}
    said = re.findall(rf"-m {re.escape(module)}((?: +[a-z|]+| +--[a-z-]+)*)(?=[ `\n]|$)", PROSE)
    words = {word for rest in said for word in re.split(r"[ |]+", rest) if word}
    known = literals | functions | options
    assert words <= known, f"{module} doesn't know {words - known}"
