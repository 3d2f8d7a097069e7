"""`troupe`: the one command line, for people who try it, build on it and run it.

Exit status: 0 done, 1 it could not be done, 2 it was asked in a way that cannot be meant. What is wrong and what to
do stands in one message on stderr; a traceback appears with --debug alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend import tasks_cli
from backend.personalization import cli as models_cli
from backend.personalization.person import taste_cli
from backend.remedies import StateOption, as_asked
from backend.vault import cli as keys_cli

if TYPE_CHECKING:
    from stack.postgres import DatabaseUrls

ROOT = Path(__file__).resolve().parent.parent

app = typer.Typer(
    name="troupe",
    help="Troupe: an entertainment platform that its audience co-owns. `./troupe dev` starts all of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(keys_cli.app)
app.add_typer(taste_cli.app)
app.add_typer(models_cli.app)
app.add_typer(tasks_cli.app)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that hold for every command."""


@contextmanager
def _said_in_words() -> Iterator[None]:
    """Turn the stack's errors, and a backup's, into a sentence and an exit status."""
    from backend.backup.archive import BackupError
    from stack.errors import StackError

    try:
        yield
    except (StackError, BackupError) as error:
        if "--debug" in sys.argv:
            raise
        err.print(f"[bold red]troupe:[/] {escape(as_asked(str(error)))}", soft_wrap=True)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


@app.command()
def dev(
    reset: Annotated[bool, typer.Option("--reset", help="Remove all data of the stack first.")] = False,
    state: StateOption = None,
) -> None:
    """Start everything: database, queue, chain, contracts, indexer, API, worker, beat. Ctrl-C ends it all in order."""
    from stack.session import run
    from stack.supervisor import Stack

    with _said_in_words():
        run(Stack(state), out, reset=reset)


@app.command()
def demo(
    scale: Annotated[
        float, typer.Option("--scale", min=0.02, max=1, help="The part of the story's films and people.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="End the stack when the story is told.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Remove all data of the stack first.")] = False,
    state: StateOption = None,
) -> None:
    """Start the stack and tell the whole creator story on it. Told on one chain before, it adds nothing to it.

    Uses the stack that runs in the folder, if one does. Ends with the story's exit status.
    """
    from stack.session import run, run_driver
    from stack.supervisor import Stack
    from stack.tree import AlreadyRunning

    story = [sys.executable, "-m", "demo", "--scale", str(scale)]
    with _said_in_words():
        stack = Stack(state)
        try:
            status = run(stack, out, reset=reset, story=story, once=once)
        except AlreadyRunning:
            if reset:
                raise
            status = run_driver(stack.running_settings(), story)
    raise typer.Exit(status)


@app.command()
def console(state: StateOption = None) -> None:
    """Open Brownie's console on the running stack's chain; help() there lists what one can do (docs/console.md)."""
    from stack.shell import console as opened
    from stack.target import target

    with _said_in_words():
        status = opened(target(state))
    raise typer.Exit(status)


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The part: postgres, anvil, contracts, indexer, api, worker, ...")
    ],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines arrive, until Ctrl-C.")] = False,
    state: StateOption = None,
) -> None:
    """Show the last lines of one part's log."""
    from stack.processes import tail
    from stack.supervisor import state_from_environment

    folder = (state.resolve() if state else state_from_environment()) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if name not in known:
        there = f"there is {', '.join(known)}" if known else as_asked("nothing was started yet: `./troupe dev` does")
        raise typer.BadParameter(f"no part {name!r} has a log in {folder}; {there}", param_hint="NAME")
    log = folder / f"{name}.log"
    out.print("\n".join(tail(log, lines)), markup=False, soft_wrap=True)
    if follow:
        _follow(log)


def _follow(log: Path) -> None:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            while True:
                if chunk := file.read():
                    out.print(chunk.decode(errors="replace"), markup=False, end="", soft_wrap=True)
                else:
                    time.sleep(0.2)
    except KeyboardInterrupt:
        pass


@app.command()
def status(state: StateOption = None) -> None:
    """Show which parts run, since when, with how much memory, and what is not ready. Ends with 1 when one is not."""
    from stack.checks import not_ready
    from stack.status import processes
    from stack.supervisor import recorded_ports, state_from_environment

    folder = state.resolve() if state else state_from_environment()
    with _said_in_words():
        found = processes(folder)
    if not found:
        out.print(escape(f"no stack runs in {folder}: {as_asked('`./troupe dev` starts it')}"), soft_wrap=True)
        raise typer.Exit(1)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in (("part", "left"), ("state", "left"), ("pid", "right"), ("up", "right"), ("MB", "right")):
        grid.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for part in found:
        state_text = "[green]● runs[/]" if part.runs else "[red]✕ ended[/]"
        up = _duration(part.up_s) if part.runs else ""
        grid.add_row(part.name, state_text, str(part.pid), up, f"{part.memory_bytes / 1e6:.0f}" if part.runs else "")
    out.print(grid)
    if not all(part.runs for part in found):
        raise typer.Exit(1)
    ports = recorded_ports(folder)
    try:
        unwell = not_ready(f"http://127.0.0.1:{ports.api}") if ports else []
    except (OSError, ValueError):
        out.print(f"[red]✕[/] the API does not answer: see {escape(as_asked('`./troupe logs api`'))}")
        raise typer.Exit(1) from None
    for finding in unwell:
        out.print(f"[red]✕[/] {escape(finding.detail)} {escape(as_asked(finding.fix))}", soft_wrap=True)
    if unwell:
        raise typer.Exit(1)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


@app.command()
def doctor(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Check every part and say the fix for what is not as it should be. Ends with 1 when a check fails.

    Looks at the servers that TROUPE_DATABASE_URL and its companions name, or else at the stack's own.
    """
    import json

    from stack.checks import Level
    from stack.doctor import examine
    from stack.target import target

    with _said_in_words():
        found = target(state)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("", no_wrap=True)
    grid.add_column("part", no_wrap=True)
    grid.add_column("found", overflow="fold")
    grid.add_column("what to do", overflow="fold")
    marks = {
        Level.OK: "[green]●[/] ok",
        Level.OFF: "[dim]○ off[/]",
        Level.WARN: "[yellow]◐ warn[/]",
        Level.FAIL: "[red]✕ FAIL[/]",
    }
    levels = []
    for name, finding in examine(found):
        levels.append(finding.level)
        detail, fix = as_asked(finding.detail), as_asked(finding.fix)
        if as_json:
            row = {"part": name, "level": finding.level, "detail": detail, "fix": fix}
            out.print(json.dumps(row), markup=False, soft_wrap=True)
        else:
            grid.add_row(marks[finding.level], name, escape(detail), escape(fix))
    if not as_json:
        failed, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
        out.print(grid)
        out.print(f"\n{levels.count(Level.OK)} ok, {warned} to look at, {failed} failed")
    if Level.FAIL in levels:
        raise typer.Exit(1)


@app.command()
def migrate(state: StateOption = None) -> None:
    """Bring the databases to this version: roles, chain tables, product tables.

    The database is that of TROUPE_ADMIN_DATABASE_URL, or the stack's own.
    """
    with _said_in_words():
        from stack.migrate import migrate_all

        if url := os.environ.get("TROUPE_ADMIN_DATABASE_URL"):
            indexer_url = os.environ.get("TROUPE_INDEXER_DATABASE_URL")
            if not indexer_url:
                raise typer.BadParameter(
                    "is not set, and the chain tables belong to its role: set it beside TROUPE_ADMIN_DATABASE_URL",
                    param_hint="TROUPE_INDEXER_DATABASE_URL",
                )
            migrate_all(url, indexer_url, say=out.print)
        else:
            with _embedded_database(state) as database:
                migrate_all(database.admin, database.indexer, say=out.print)


@contextmanager
def _embedded_database(state: Path | None) -> Iterator[DatabaseUrls]:
    """The stack's own database: the running one, or started for as long as it is needed."""
    from stack.errors import StackError
    from stack.postgres import ensure_database
    from stack.processes import running
    from stack.supervisor import Settings, state_from_environment

    settings = Settings(state.resolve() if state else state_from_environment())
    if settings.postgres.answers():
        yield settings.database
    elif (settings.postgres.data / "PG_VERSION").exists():
        with running(settings.postgres.service(), settings.state / "logs" / "postgres.log"):
            ensure_database(settings.database)
            yield settings.database
    else:
        raise StackError(
            f"there is no database in {settings.state} yet: `./troupe dev` makes one, or set TROUPE_ADMIN_DATABASE_URL"
        )


@app.command()
def backup(
    to: Annotated[Path, typer.Option("--to", help="The folder that gets the backup.", file_okay=False)],
    keys: Annotated[
        Path | None, typer.Option("--keys", help="The folder that mirrors the keys; best on another disk.")
    ] = None,
    state: StateOption = None,
) -> None:
    """Write the product tables and the kept files, as of one moment, into one file; mirror the keys beside it.

    The file holds ciphertext where it is personal; the keys that open it are in the mirror, as they are now. The chain
    tables are left out: `python -m indexer rebuild` makes them again. The stack may run.
    """
    from backend.backup import command

    with _said_in_words(), _embedded_or_named(state) as (environment, admin_url), command.shown(out) as progress:
        for line in command.backup(environment, admin_url, to=to, keys=keys, progress=progress):
            out.print(line, markup=False, soft_wrap=True)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `troupe backup` wrote.")],
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Bring back keys from this mirror first.", file_okay=False)
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the product tables though they hold accounts.")
    ] = False,
    keep_consents: Annotated[
        bool, typer.Option("--keep-consents", help="Consents hold on: you know that none was withdrawn since.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Put a backup back, whole or not at all; erasures that were done since are done again. Stop API and workers first.

    Killed at any moment, it leaves the product tables as they were: give the same command again.
    """
    from backend.backup import command

    with _said_in_words(), _embedded_or_named(state) as (environment, admin_url), command.shown(out) as progress:
        said = command.restore(
            environment, admin_url, file, keys=keys, replace=replace, keep_consents=keep_consents, progress=progress
        )
        for line in said:
            out.print(line, markup=False, soft_wrap=True)


@contextmanager
def _embedded_or_named(state: Path | None) -> Iterator[tuple[dict[str, str], str]]:
    """The settings of an installation as variables, and its database as an owner: named, or the stack's own."""
    from stack.supervisor import Settings, state_from_environment

    if (url := os.environ.get("TROUPE_ADMIN_DATABASE_URL")) and state is None:
        yield dict(os.environ), url
        return
    with _embedded_database(state) as database:
        settings = Settings(state.resolve() if state else state_from_environment())
        yield os.environ | settings.environment(), database.admin


@app.command()
def evaluate(  # noqa: PLR0917 - typer calls it by name
    data: Annotated[
        Path, typer.Option("--data", help="A folder with ratings.csv.gz and movies.csv.gz, as MovieTweetings has them.")
    ] = ROOT / "bench" / "data" / "movietweetings",
    simulated: Annotated[
        bool, typer.Option("--simulated", help="In a small world whose truth is known, over four weeks.")
    ] = False,
    runs: Annotated[int, typer.Option("--runs", min=2, help="How often the simulated world is lived.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    own_log: Annotated[
        bool, typer.Option("--own-log", help="Judge other ways of choosing by what this installation has shown.")
    ] = False,
    days: Annotated[int, typer.Option("--days", min=1, max=180, help="With --own-log: of so many days.")] = 28,
    state: StateOption = None,
) -> None:
    """Judge the ranking on what people did after a cut in time, beside popularity and what was popular lately.

    Weights are learned on what lies before the cut. Means have their standard errors, and a difference within noise is
    not called one. With --own-log, policies are judged place by place from kept impressions and their probabilities.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from backend.personalization.evaluation.datasets import BadDataset

    if own_log:
        from backend.personalization.evaluation import own_cli

        own_cli.own_log(state, days=days, as_json=as_json)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("begin", total=None)

            def tell(what: str, done: int, of: int) -> None:
                progress.update(task, description=what, completed=done, total=of)

            _say(_simulated(runs, tell) if simulated else _offline(data, tell), as_json=as_json)
    except (BadDataset, ValueError) as error:
        err.print(f"[bold red]troupe:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None


def _offline(data: Path, tell: Callable[[str, int, int], None]) -> tuple[dict[str, Any], list[Table | str]]:
    from backend.personalization.evaluation import report
    from backend.personalization.evaluation.datasets import movietweetings

    tell("read the log", 0, 1)
    found = report.evaluate(movietweetings(data), progress=tell)
    weights = ", ".join(f"{name} {value:g}" for name, value in report.terms(found).items())
    said: list[Table | str] = [*report.tables(found), report.order(found), f"weights {found.weights.digest}: {weights}"]
    return report.as_json(found), said


def _simulated(runs: int, tell: Callable[[str, int, int], None]) -> tuple[dict[str, Any], list[Table | str]]:
    from backend.personalization.evaluation import report, simulator

    outcomes = simulator.compare(runs=runs, progress=lambda done, of: tell("live", done, of))
    held = simulator.intervals_hold(progress=lambda done, of: tell("judge from logs", done, of))
    said: list[Table | str] = [
        *report.lived(outcomes),
        f"DR's 95 % interval held the truth in {held:.1%} of 500 simulated logs",
    ]
    return report.lived_as_json(outcomes, held), said


def _say(found: tuple[dict[str, Any], list[Table | str]], *, as_json: bool) -> None:
    import json

    if as_json:
        out.print(json.dumps(found[0]), markup=False, soft_wrap=True)
        return
    for part in found[1]:
        out.print(part, markup=False)


@app.command()
def experiments(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an experiment, for programs.")] = False,
    state: StateOption = None,
) -> None:
    """Show each experiment: first whether its split is sound, then every arm, then what differs beyond noise.

    Experiments stand in the file of TROUPE_EXPERIMENTS. Figures are sums over people who allow `behaviour`.
    """
    from backend.personalization.evaluation import own_cli

    own_cli.experiments(state, as_json=as_json)


@app.command()
def version() -> None:
    """Print the versions of Troupe and of what it is made of."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    out.print(f"troupe {project['version']}")
    out.print(f"  python      {sys.version.split()[0]}")
    for package in ("fastapi", "sqlalchemy", "celery", "web3"):
        out.print(f"  {package:<12}{installed_version(package)}")


def main() -> int:
    """Run the command line and return its exit status; an unforeseen error is one line without --debug."""
    debug = "--debug" in sys.argv
    try:
        result = app(standalone_mode=False, prog_name="./troupe")
        return int(result or 0)
    except typer.Exit as ending:
        return int(ending.exit_code)
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the last resort: whatever it is, the person gets a sentence
        if (show := getattr(error, "show", None)) and (code := getattr(error, "exit_code", None)) is not None:
            show()  # click's own: wrong usage, with the argument and the help to ask for
            return int(code)
        if debug:
            raise
        what = str(error) or type(error).__name__
        err.print(f"[bold red]troupe:[/] {escape(what)} (--debug shows where)", soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
