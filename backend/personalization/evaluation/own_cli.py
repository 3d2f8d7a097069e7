"""`./troupe evaluate --own-log` and `./troupe experiments`: figures of an installation's own people, as sums."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.installation import fail, installation
from backend.jsontext import significant
from backend.personalization.evaluation import experiments as declared
from backend.personalization.evaluation import own_log as own
from backend.personalization.evaluation.experiment_routes import shown
from backend.personalization.evaluation.experiments import BadExperiments, Result

out = Console(highlight=False)


def own_log(state: Path | None, *, days: int, as_json: bool) -> None:
    """Print the table of policies judged from the installation's impressions. Ends with 1 when there is too little."""
    with installation(state) as place, place.database.session() as session:
        try:
            found = own.judge(session, now=datetime.now(UTC), days=days)
        except own.TooLittle as error:
            raise fail(error) from None
    if as_json:
        out.print(json.dumps(significant(own.as_json(found))), markup=False, soft_wrap=True)
    else:
        for table in own.tables(found):
            out.print(table)
        out.print(own.NOTE)


def experiments(state: Path | None, *, as_json: bool) -> None:
    """Print every experiment of the installation."""
    now = datetime.now(UTC)
    with installation(state) as place:
        try:
            file = place.experiments
            running = declared.load(file)
        except BadExperiments as error:
            raise fail(error) from None
        with place.database.session() as session:
            found = declared.results(session, running, now=now)
    if as_json:
        for each in found:
            out.print(shown(each, now=now).model_dump_json(), markup=False, soft_wrap=True)
        return
    if not found:
        out.print("no experiment runs: name a file with TROUPE_EXPERIMENTS")
    for each in found:
        out.print(arms_table(each))
        for line in lines(each):
            out.print(line, soft_wrap=True)


def arms_table(found: Result) -> Table:
    """The arms of an experiment with their means."""
    grid = Table(title=f"{found.experiment.name}: {escape(found.experiment.says)}", title_justify="left")
    grid.add_column("arm")
    for heading in ("planned", "people", "slates"):
        grid.add_column(heading, justify="right")
    for metric in declared.METRICS:
        grid.add_column(f"{metric} ± SE", justify="right")
    for arm in found.arms:
        means = [f"{sums.mean:.4f} ± {sums.error:.4f}" for sums in arm.sums.values()] or ["too few"] * 4
        grid.add_row(arm.name, f"{float(arm.share):.0%}", f"{arm.people:,}", f"{arm.slates:,}", *means)
    return grid


def lines(found: Result) -> list[str]:
    """What may be said of it: the split first, and only if that is sound, what differs."""
    if not found.sound:
        return [
            f"[bold red]✕[/] the split is broken: as uneven by chance with a probability of {found.ratio_p:.2g}."
            " Nothing else here means anything; find out why first."
        ]
    said = [f"[green]●[/] the split is as planned (p = {found.ratio_p:.2f})"]
    for one in found.comparisons:
        verdict = one.verdict
        span = f"{verdict.low:+.4f} to {verdict.high:+.4f}, p = {verdict.p:.3f}, may be looked at at any time"
        words = f"{verdict.difference:+.4f} ({span})" if verdict.tells else f"within noise ({span})"
        said.append(f"  {one.metric}, {one.arm} against {found.experiment.control}: {words}")
    if not found.comparisons:
        said.append("  too few people in the arms to compare them")
    return said
