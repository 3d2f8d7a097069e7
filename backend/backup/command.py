"""`troupe backup` and `troupe restore`: what they say, and which installation they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.backup import keys as key_mirror
from backend.backup import service, signing
from backend.backup.archive import BackupError
from backend.backup.service import Installation
from backend.chain import ManifestError
from backend.deps import wall_clock
from backend.settings import PREFIX, Settings
from backend.vault.master_key import VaultError
from backend.vault.vault import Vault

MIRROR = "keys"
"""The folder of the mirror, beside the backups, where none is named."""


@contextmanager
def shown(console: Console) -> Iterator[service.Progress]:
    """A bar for each thing that is done; on what is no terminal, nothing moves."""
    bars = Progress(
        TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    tasks = {}
    with bars:

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress


@contextmanager
def _installation(environment: Mapping[str, str], admin_url: str) -> Iterator[Installation]:
    """The installation that the variables name; whatever is wrong with it is a BackupError."""
    named = {name: environment.get(PREFIX + name.upper()) for name in Settings.model_fields}
    try:
        settings = Settings(**{name: value for name, value in named.items() if value})  # type: ignore[arg-type]
        yield Installation(settings, admin_url, Vault.open(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = PREFIX + ".".join(map(str, first["loc"])).upper() if first["loc"] else "the settings"
        raise BackupError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    except (ManifestError, VaultError) as error:
        raise BackupError(str(error)) from error


def backup(
    environment: Mapping[str, str], admin_url: str, *, to: Path, keys: Path | None, progress: service.Progress
) -> Iterator[str]:
    """Take a backup and mirror the keys; yields what to tell the operator. Raises BackupError."""
    with _installation(environment, admin_url) as place:
        taken = service.take(place, to, now=wall_clock(), progress=progress)
        folder = keys or to / MIRROR
        mirrored = key_mirror.mirror(place.vault, folder)
        signs = signing.mirror(place.settings.taste_key, place.settings.master_key, folder)
        rows = sum(part.rows for part in taken.manifest.tables)
        yield f"backup     {taken.path}  {taken.path.stat().st_size:,} bytes"
        yield f"           {rows:,} rows of {len(taken.manifest.tables)} tables, {len(taken.manifest.content):,} files"
        yield f"keys       {folder}  {mirrored.people:,} people"
        if signs:
            yield "           and the key that signs taste documents"
        if taken.manifest.missing:
            yield f"missing    {len(taken.manifest.missing)} files with a row and no bytes: {taken.manifest.missing[0]}"
        if keys is None:
            yield "The keys open the backup: keep the two on different disks (--keys names another folder)."
        yield f"The master key {place.settings.master_key} is in neither: keep a copy of it where neither is."


def restore(
    environment: Mapping[str, str],
    admin_url: str,
    file: Path,
    *,
    keys: Path | None,
    replace: bool,
    keep_consents: bool,
    progress: service.Progress,
) -> Iterator[str]:
    """Put a backup back; yields what to tell the operator. Raises BackupError."""
    with _installation(environment, admin_url) as place:
        if keys is not None:
            brought = key_mirror.bring_back(place.vault, keys)
            yield f"keys       {brought.written:,} brought back, {brought.erased:,} people were erased since"
            signs = signing.bring_back(place.settings.taste_key, place.settings.master_key, keys)
            if signs == "brought":
                yield "           the key that signs taste documents was brought back"
            elif signs == "other":
                yield f"           {place.settings.taste_key} signs taste documents and stays; the mirror has another"
                yield "           key: move the file away and restore again to have documents of that one believed"
        again = None if keep_consents else wall_clock()
        restored = service.put_back(place, file, replace=replace, ask_consents_again=again, progress=progress)
        yield f"restored   {restored.rows:,} rows and {restored.files:,} files as of {restored.manifest.made_at}"
        if restored.erased:
            yield f"erased     {restored.erased:,} people again; {restored.closed:,} of their files stay closed"
        if restored.withdrawn:
            yield f"consents   {restored.withdrawn:,} are asked for anew: some may have been withdrawn since"
        yield "Next: the indexer (`python -m indexer rebuild` if the chain tables are gone), then API and workers."
