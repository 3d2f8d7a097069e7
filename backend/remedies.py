"""Remedies that a command prints, ready to be typed again as they stand."""

from __future__ import annotations

import re
import shlex
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Final

import typer

COMMAND: Final = re.compile(r"\./troupe(?: (?!taste\b|version\b)[A-Za-z]+)+")
"""A command of ours in a sentence, up to its first option; those left out know no folder."""
_typed: ContextVar[Path | None] = ContextVar("state", default=None)
"""The folder that was typed with the command that runs; who set TROUPE_STATE has it set for the next one too."""


def _remember(context: typer.Context, state: Path | None) -> Path | None:
    source = context.get_parameter_source("state")
    _typed.set(state if source is not None and source.name == "COMMANDLINE" else None)
    return state


StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="The folder of the stack's data.",
        envvar="TROUPE_STATE",
        show_default=".troupe",
        callback=_remember,
    ),
]


def with_state(text: str, state: Path) -> str:
    """The same words, their commands of the stack in the folder `state`."""
    return COMMAND.sub(lambda found: f"{found[0]} --state {shlex.quote(str(state))}", text)


def as_asked(text: str) -> str:
    """The words for who typed the command that runs: with `--state` where they gave it."""
    state = _typed.get()
    return text if state is None else with_state(text, state)
