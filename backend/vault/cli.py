"""`./troupe keys`: the master key file and the data keys that it wraps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.installation import fail
from backend.remedies import StateOption

app = typer.Typer(name="keys", help="The master key and the data keys that it wraps.", no_args_is_help=True)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def _places(state: Path | None) -> tuple[Path, Path]:
    """Vault and master key file: those of the environment, or the stack's own."""
    from stack.supervisor import Settings, state_from_environment

    vault, master = os.environ.get("TROUPE_VAULT_DIR"), os.environ.get("TROUPE_MASTER_KEY_FILE")
    if state is None and (vault or master):
        if not (vault and master):
            missing = "TROUPE_MASTER_KEY_FILE" if vault else "TROUPE_VAULT_DIR"
            raise typer.BadParameter("is not set, and its companion is: set both", param_hint=missing)
        return Path(vault), Path(master)
    settings = Settings(state.resolve() if state else state_from_environment())
    return settings.vault, settings.master_key


@app.command()
def init(state: StateOption = None) -> None:
    """Make the master key file of a new installation. Refused where there is one, or data keys that need one."""
    from backend.vault import master_key
    from backend.vault.master_key import VaultError
    from backend.vault.vault import require_no_keys

    folder, master = _places(state)
    if master.exists():
        raise fail(f"{master} is there already; `./troupe keys rotate` adds a version to it")
    try:
        require_no_keys(folder, master)
        master_key.create(master)
    except (VaultError, OSError) as error:
        raise fail(error) from None
    out.print(f"made {master}; keep a copy of it apart from the copies of {folder}", soft_wrap=True)


@app.command()
def rotate(
    retire: Annotated[
        bool, typer.Option("--retire", help="Drop versions that wrap nothing any more; older copies then do not open.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Add a version to the master key and wrap every data key by it, while everything runs.

    Killed at any moment it loses nothing: give the same command again.
    """
    from backend.vault import rotation
    from backend.vault.master_key import VaultError
    from backend.vault.vault import Vault

    bars = Progress(TextColumn("wrap"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err)
    try:
        vault = Vault(*_places(state))
        with bars:
            bar = bars.add_task("wrap", total=None)
            done = rotation.rotate(
                vault,
                retire=retire,
                progress=lambda count, total: bars.update(bar, completed=count, total=total),
            )
    except (VaultError, OSError) as error:
        raise fail(error) from None
    what = "ended the rotation to" if done.resumed else "rotated to"
    out.print(f"{what} version {done.version}: {done.wrapped:,} data keys were wrapped anew")
    if done.dropped:
        out.print(
            f"dropped version {', '.join(map(str, done.dropped))}: older copies of the vault do not open any more"
        )
    for person, reason in done.failed.items():
        err.print(f"  {person}: {escape(reason)}", soft_wrap=True)
    if done.failed:
        raise fail(f"{len(done.failed)} data keys were left as they are: bring their files back from a copy")


@app.command()
def status(state: StateOption = None) -> None:
    """Show how many data keys each version of the master key wraps. Ends with 1 when something is wrong."""
    from backend.vault.inspection import inspect
    from backend.vault.master_key import VaultError
    from backend.vault.vault import Vault

    try:
        vault = Vault(*_places(state))
        found = inspect(vault)
    except (VaultError, OSError) as error:
        raise fail(error) from None
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("version", justify="right")
    grid.add_column("data keys", justify="right")
    grid.add_column("")
    for version, count in sorted(found.counts.items()):
        word = "current" if version == vault.current else "" if count else "wraps nothing: `rotate --retire` drops it"
        grid.add_row(str(version), f"{count:,}", word)
    out.print(grid)
    out.print(f"{found.erased:,} erased; vault {vault.folder}, master key {vault.master_file}", soft_wrap=True)
    for person, reason in found.damaged:
        err.print(f"  {person}: {escape(reason)}", soft_wrap=True)
    if found.damaged:
        raise fail(f"{len(found.damaged)} data keys do not open: bring their files back from a copy")
