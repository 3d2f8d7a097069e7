"""`./troupe models`: which model serves, how good each one was, and going back to an older one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.installation import fail, installation
from backend.remedies import StateOption, as_asked

if TYPE_CHECKING:
    from backend.models.personalization import ModelSnapshot
    from backend.personalization.models.versions import State

app = typer.Typer(name="models", help="The models that choose what people see.", invoke_without_command=True)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MARKS: Final = {
    "serves": "[green]● serves[/]",
    "pinned": "[green]● serves, pinned[/]",
    "kept": "○ kept",
    "refused": "[red]✕ refused[/]",
    "dropped": "[dim]dropped[/]",
}


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
    state: StateOption = None,
) -> None:
    """Show the models, newest first, with what they scored on people who came back after a cut of the log."""
    if context.invoked_subcommand is not None:
        return
    import json

    from backend.personalization.models import progress, versions

    with installation(state) as place:
        with place.database.session() as session:
            found = versions.listed(session)
            free = versions.lock(session)
            rows = [_row(snapshot, of) for snapshot, of in found]
        training = progress.under_way(place.redis)
    if as_json:
        for row in rows:
            out.print(json.dumps(row), markup=False, soft_wrap=True)
        return
    out.print(_table(rows) if rows else "there is no model yet: one is trained when people allow it and like something")
    for row in rows:
        if row["refused"]:
            out.print(f"{row['version']} was refused: {escape(row['refused'])}", soft_wrap=True)
    if not free and training is not None:
        out.print(f"training: {training.what}, {training.done} of {training.of}, said {training.said_at}")
    elif not free:
        out.print("a training is under way")
    elif training is not None:
        out.print(f"a training was broken off at {training.said_at} ({training.what}); the next one begins anew")


def _row(snapshot: ModelSnapshot, of: State) -> dict[str, Any]:
    metrics = snapshot.metrics
    return {
        "version": snapshot.version,
        "state": of,
        "pairs": snapshot.pairs,
        "works": snapshot.works,
        "judged": metrics.get("judged", 0),
        "made_at": snapshot.created_at.astimezone(UTC).isoformat(),
        "refused": snapshot.refused,
        "figures": metrics.get("models", {}).get("this model"),
        "against": metrics.get("against", {}),
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    from backend.personalization.evaluation import report
    from backend.personalization.evaluation.metrics import Difference

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("version", justify="right", no_wrap=True)
    grid.add_column("state", no_wrap=True, min_width=len("● serves, pinned"))
    for heading in ("made", "pairs", "works", "judged by", "NDCG@10 ± SE", "Recall@20 ± SE", "coverage"):
        grid.add_column(heading, justify="left" if heading == "made" else "right")
    grid.add_column("against popular lately")
    for row in rows:
        figures, against = row["figures"], row["against"].get(report.BASELINE)
        means = ["", "", "", "too few people to judge by"]
        if figures is not None:
            means = [f"{figures[name]:.4f} ± {figures[f'{name}_error']:.4f}" for name in ("ndcg", "recall")]
            means += [f"{figures['coverage']:.3f}", report.verdict(Difference(**against)) if against else ""]
        made = row["made_at"][:16].replace("T", " ")
        counts = [f"{row[name]:,}" for name in ("pairs", "works", "judged")]
        grid.add_row(str(row["version"]), MARKS[row["state"]], made, *counts, *means)
    return grid


@app.command()
def rollback(
    version: Annotated[
        int | None, typer.Argument(help="The model that shall serve; else the one before.", show_default=False)
    ] = None,
    state: StateOption = None,
) -> None:
    """Let an older model serve. All processes follow within two seconds; it stays until `./troupe models release`."""
    from backend.personalization.models import versions

    with installation(state) as place:
        try:
            with place.database.session() as session:
                chosen = versions.roll_back(session, place.models, version=version, now=datetime.now(UTC)).version
        except versions.NoSuchModel as error:
            raise fail(error) from None
    out.print(as_asked(f"model {chosen} serves, within two seconds everywhere, until `./troupe models release`"))


@app.command()
def release(state: StateOption = None) -> None:
    """Let the newest accepted model serve again."""
    from backend.personalization.models import versions

    with installation(state) as place, place.database.session() as session:
        serves = versions.release(session)
        said = f"model {serves.version} serves, within two seconds everywhere" if serves else "there is no model yet"
    out.print(said)


@app.command()
def train(
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Only if enough has changed since the newest, as the worker does.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Share the work among the workers of a Dask scheduler."),
    ] = None,
    state: StateOption = None,
) -> None:
    """Train a model now, judge it, and let it serve if it is not worse than what there is. Ends with 1 when refused."""
    from contextlib import nullcontext

    from backend.personalization.models import cluster, linear, progress, training

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with installation(state) as place, Progress(*columns, console=err, transient=True) as shown:
        bar = shown.add_task("begin", total=None)
        tell = progress.told(place.redis, lambda: datetime.now(UTC))

        def said(what: str, done: int, of: int) -> None:
            tell(what, done, of)
            shown.update(bar, description=what, completed=done, total=of)

        try:
            with cluster.shared(scheduler) if scheduler else nullcontext(linear.here) as share:
                made = training.train_and_sweep(
                    place.database.session,
                    models=place.models,
                    now=datetime.now(UTC),
                    growth=0.05 if if_changed else 0.0,
                    share=share,
                    said=said,
                )
        except cluster.NoCluster as error:
            raise fail(error) from None
        finally:
            progress.ended(place.redis)
    if made is None:
        out.print(
            "no model was trained: nobody allows it yet, too little has changed, or another training is under way"
        )
    elif made.refused is not None:
        raise fail(f"model {made.version} was refused, and the one before serves on: {made.refused}")
    else:
        out.print(
            f"model {made.version} serves, within two seconds everywhere: {made.pairs:,} pairs, {made.works:,} works"
        )
