"""The console's commands: each is a function whose first argument is the Troupe; what it returns is printed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from scripts.console.amounts import Refused
from scripts.console.chain import Troupe

Command = Callable[..., str]
COMMANDS: dict[str, Command] = {}
"""In the order in which help() lists them."""


def command(function: Command) -> Command:
    """Make a function a command by its own name."""
    COMMANDS[function.__name__] = function
    return function


def usage(function: Command) -> str:
    """A command with its arguments, as one would type it."""
    given = list(inspect.signature(function).parameters.values())[1:]
    parts = [
        f"*{p.name}"
        if p.kind is p.VAR_POSITIONAL
        else p.name
        if p.default is p.empty
        else f"{p.name}=..."
        if p.default is None
        else f"{p.name}={p.default!r}"
        for p in given
        if p.kind is not p.VAR_KEYWORD
    ]
    return f"{function.__name__}({', '.join(parts)})"


def bound(troupe: Troupe, function: Command) -> Callable[..., None]:
    """The command on one deployment: prints what happened, or in one sentence why it can't."""

    @wraps(function)
    def run(*args: Any, **named: Any) -> None:
        try:
            inspect.signature(function).bind(troupe, *args, **named)
        except TypeError as error:
            print(f"not like that: {error}; it is {usage(function)}")
            return
        try:
            print(function(troupe, *args, **named))
        except Refused as refused:
            print(f"not done: {refused}")

    return run


def names(troupe: Troupe) -> dict[str, Any]:
    """What the console knows by name: the commands, the people, the contracts."""
    commands = {name: bound(troupe, function) for name, function in COMMANDS.items()}
    return {**troupe.contracts, **{name: name for name in troupe.people}, **commands}


@command
def help(troupe: Troupe, what: Any = None) -> str:  # the word that a person tries first
    """the commands, or what one of them takes"""
    if what is not None:
        asked = getattr(what, "__name__", str(what))
        if asked not in COMMANDS:
            raise Refused(f"there is no command {asked!r}: help() lists them")
        return f"{usage(COMMANDS[asked])}: {inspect.getdoc(COMMANDS[asked])}"
    width = max(map(len, COMMANDS)) + 2
    lines = [
        f"  {name:<{width}}{(inspect.getdoc(function) or '').splitlines()[0]}" for name, function in COMMANDS.items()
    ]
    people = ", ".join(troupe.people)
    return "\n".join(
        [
            *lines,
            "",
            "help(tip) says what tip takes. Amounts are '0.5 ETH' or '20 mUSD', shares '10%', times days.",
            f"People: {people}.",
            "Contracts have their own names, such as RevenueLedger.feeBps().",
        ]
    )
