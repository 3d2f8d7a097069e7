"""python -m indexer: mirror the chain into PostgreSQL, look at the mirror, compare it with the chain.

Exit status: 0 done, 1 it failed or differs, 2 wrong usage or settings. Errors are one sentence on stderr.
"""

from __future__ import annotations

import gc
import http.client
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import orjson
import psycopg
import typer

from indexer import deployment as manifest
from indexer import faults
from indexer import migrate as migration
from indexer import proof as proving
from indexer import rebuild as rebuilding
from indexer import reindex as reindexing
from indexer import verify as verification
from indexer.chain import Chain
from indexer.connection import Connection, connect
from indexer.deployment import Deployment
from indexer.errors import Fatal, IndexerError, Retryable
from indexer.health import HOST, HealthServer
from indexer.nodes import Nodes
from indexer.report import PassBar, Reporter
from indexer.settings import IndexerSettings, SettingsError, load_settings
from indexer.store import Store
from indexer.sync import Progress as SyncProgress
from indexer.sync import Sync

FAILED = 1
WRONG_USAGE = 2
SHOWN = 20
"""Differences that `reindex` prints; with --json it names up to 1,000."""

app = typer.Typer(
    name="indexer",
    help="Mirrors the contracts' events into PostgreSQL, exactly once, through any crash or reorganisation.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def complain(text: str, colour: str = "red") -> None:
    """A sentence on stderr."""
    typer.secho(text, err=True, fg=colour)


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with the error's sentence instead of a traceback."""
    try:
        yield
    except SettingsError as error:
        snippet = " docs/operations.md shows how to set them for the stack of `./troupe dev`." if unset(error) else ""
        complain(f"Wrong settings: {error}.{snippet}" if snippet else f"Wrong settings: {error}")
        raise typer.Exit(WRONG_USAGE) from None
    except IndexerError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except psycopg.Error as error:
        complain(f"The database refuses: {str(error).strip()}")
        raise typer.Exit(FAILED) from None


def unset(error: SettingsError) -> bool:
    """Whether a setting is missing altogether, as in a shell where none was made."""
    return " is not set" in str(error)


def deployed() -> tuple[IndexerSettings, Deployment]:
    settings = load_settings()
    deployment = manifest.load(settings.deployment)
    faults.require_development(deployment)
    return settings, deployment


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="End when the head of the chain is reached.")] = False,
) -> None:
    """Follow the chain until SIGTERM or Ctrl-C; a step that was begun is finished."""
    with one_sentence():
        settings, deployment = deployed()
        migration.make_where_missing(settings.indexer_database_url, settings.admin_database_url)
        _collect_rarely()
        progress = SyncProgress()
        with Reporter(deployment) as reporter:
            sync = Sync(settings, deployment, progress=progress, on_step=reporter.step)

            with (
                HealthServer(
                    progress,
                    settings.indexer_port,
                    stall_s=settings.indexer_stall_s,
                    prove=lambda block: _prove(settings, deployment, block).json(),
                ) as health,
                _until_signal(sync.stop),
            ):
                reporter.started(health.port)
                sync.run(until_caught_up=once)
            reporter.stopped(progress)


def _collect_rarely() -> None:
    """Answers and rows are trees without cycles: looking for cycles among them takes a fifth of the time."""
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)


@contextmanager
def _until_signal(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop` inside the block, and mean what they meant before after it."""
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(each, lambda *_: stop()) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how far the mirror is, and how far the chain."""
    with one_sentence():
        settings, deployment = deployed()
        with connect(settings.indexer_database_url, autocommit=True) as connection:
            migration.require_current(connection)
            found = _status(connection, deployment)
        try:
            head, final = Chain(Nodes(settings.rpc_url, read_timeout_s=5), deployment).head()
            found |= {"chain_head": head.number, "chain_final": final}
            if found["head"] is not None:
                found["lag_blocks"] = head.number - found["head"]
            found["done"] = _share_done(found)
        except IndexerError as error:
            found |= {"chain_head": None, "chain_final": None, "node": str(error)}
        found |= _running(settings.indexer_port)
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
        else:
            _print_status(found)
        if found["head"] is None or found["chain_head"] is None:
            raise typer.Exit(FAILED)


def _share_done(found: dict[str, Any]) -> float | None:
    """How much of the chain from the deployment on is mirrored, 0 to 1."""
    if found["head"] is None:
        return None
    blocks = max(1, found["chain_head"] - found["start_block"] + 1)
    return float(min(1.0, (found["head"] - found["start_block"] + 1) / blocks))


def _running(port: int) -> dict[str, Any]:
    """What the running process says of its speed; nothing when none answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/ready")
        said = orjson.loads(connection.getresponse().read())
        return {name: said.get(name) for name in ("ready", "reason", "events_per_s", "seconds_left")}
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError, AttributeError):
        return {}
    finally:
        connection.close()


def _status(connection: Connection, deployment: Deployment) -> dict[str, Any]:
    row = connection.execute(
        "SELECT start_block, head_number, head_hash, final_number, log_count, digest,"
        " extract(epoch FROM now() - updated_at)::float8 FROM chain.cursor"
    ).fetchone()
    undone = connection.execute(
        "SELECT count(*), coalesce(max(old_head_number - first_block + 1), 0) FROM chain.reorganisation"
    ).fetchone()
    names = ("start_block", "head", "head_hash", "final", "logs", "digest", "updated_s_ago")
    found: dict[str, Any] = {"chain_id": deployment.chain_id, "network": deployment.network}
    found |= dict(zip(names, row or (None,) * len(names), strict=True))
    for name in ("head_hash", "digest"):
        found[name] = None if found[name] is None else "0x" + found[name].hex()
    found["reorganisations"], found["deepest_reorganisation"] = undone or (0, 0)
    return found


def _print_status(found: dict[str, Any]) -> None:
    def shown(name: str) -> str:
        value = found.get(name)
        return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

    mirrored = f"blocks {shown('start_block')} to {shown('head')}, final to {shown('final')}"
    lag = found.get("lag_blocks")
    done = found.get("done")
    bar = None if done is None else f"{'█' * int(20 * done):░<20} {100 * done:.1f} %"
    left = found.get("seconds_left")
    speed = f"{shown('events_per_s')} events/s" + (f", {left:,.0f} s left" if left else "")
    lines = {
        "Progress": bar,
        "Process": f"{'ready' if found['ready'] else found['reason']}, {speed}" if "ready" in found else "none running",
        "Chain": f"{found['network']} (id {found['chain_id']})",
        "Mirrored": "nothing yet" if found["head"] is None else mirrored,
        "Chain's head": f"{shown('chain_head')}, final to {shown('chain_final')}",
        "Lag": None if lag is None else "none" if lag == 0 else f"{lag:,} blocks",
        "Logs": shown("logs"),
        "Reorganised": f"{shown('reorganisations')} times, deepest {shown('deepest_reorganisation')} blocks",
        "Last step": None if found["updated_s_ago"] is None else f"{found['updated_s_ago']:,.1f} s ago",
        "Head's hash": shown("head_hash"),
        "Digest": shown("digest"),
    }
    for name, value in lines.items():
        if value is not None:
            typer.echo(f"{name:<14}{value}")
    if found["head"] is None:
        complain("The mirror has not begun: run `python -m indexer run`", "yellow")
    if found["chain_head"] is None:
        complain(found["node"], "yellow")


@app.command()
def verify(
    everything: Annotated[bool, typer.Option("--all", help="Fetch all logs again, not a sample.")] = False,
    ranges: Annotated[int, typer.Option(min=0, help="Ranges of 500 blocks whose logs are fetched again.")] = 4,
    receipts: Annotated[bool, typer.Option("--receipts", help="Prove every log from its block's receipts.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the sample; printed, so that it can be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Compare the mirror with the contracts' getters, its own raw logs, and logs fetched again. 1 if they differ."""
    with one_sentence():
        settings, deployment = deployed()
        seed = random.SystemRandom().randrange(2**32) if seed is None else seed

        def attempt() -> verification.Report:
            with _snapshot(settings) as connection:
                return verification.verify(
                    connection,
                    Chain(Nodes(settings.rpc_url), deployment),
                    sample=None if everything else ranges,
                    rng=random.Random(seed),
                    report=lambda check: None if as_json else _print_check(check),
                    receipts=receipts,
                )

        report = _patiently(attempt)
        sampled = not everything and ranges > 0
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(_report(report, seed)) + b"\n")
        else:
            verdict = "equals" if report.equal else "differs from"
            typer.secho(
                f"The mirror {verdict} the chain at block {report.block_number:,}"
                + (f" (sample's seed {seed})" if sampled else ""),
                fg="green" if report.equal else "red",
            )
        if not report.equal:
            raise typer.Exit(FAILED)


@contextmanager
def _snapshot(settings: IndexerSettings) -> Iterator[Connection]:
    """A connection that reads the mirror as it is now, and goes on doing so while others write."""
    with connect(settings.indexer_database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        migration.require_current(connection)
        yield connection


def _prove(settings: IndexerSettings, deployment: Deployment, block: int | None) -> proving.Proof:
    """Prove a block, the mirror's head if none is named."""
    with _snapshot(settings) as connection:
        if block is None:
            row = connection.execute("SELECT head_number FROM chain.cursor").fetchone()
            if row is None:
                raise Fatal("The mirror is empty: run `python -m indexer run` first")
            block = int(row[0])
        return proving.prove(connection, Chain(Nodes(settings.rpc_url), deployment), block)


@app.command()
def proof(
    block: Annotated[int | None, typer.Option(min=1, help="The mirror's head if none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Prove that the mirror holds all logs of a block and no others, from the block's hash. 1 if it doesn't."""
    with one_sentence():
        settings, deployment = deployed()
        found = _patiently(lambda: _prove(settings, deployment, block))
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(found.json()) + b"\n")
        else:
            typer.echo(f"Block      {found.block:,}")
            typer.echo(f"Hash       {found.block_hash}, recomputed from the header's fields")
            typer.echo(f"Receipts   {found.receipts:,}, root {found.receipts_root}, recomputed from them")
            typer.echo(f"Digest     {found.digest}")
            for finding in found.findings:
                complain(f"           {finding}")
            verdict = "exactly" if found.holds else "NOT exactly"
            typer.secho(
                f"The mirror has {verdict} the block's logs of our contracts ({found.logs:,})",
                fg="green" if found.holds else "red",
            )
        if not found.holds:
            raise typer.Exit(FAILED)


Found = TypeVar("Found")


def _patiently(attempt: Callable[[], Found], times: int = 5) -> Found:
    """Try again when the chain changed while it was compared."""
    for left in range(times - 1, -1, -1):
        try:
            return attempt()
        except Retryable as error:
            if not left:
                raise
            complain(f"Once more: {error}", "yellow")
            time.sleep(0.5)
    raise Fatal("the chain never stood still")


def _print_check(check: verification.Check) -> None:
    verdict = "differs" if check.findings else "equal"
    typer.secho(f"{verdict:<9}", fg="red" if check.findings else "green", nl=False)
    typer.echo(f"{check.name}: {check.compared:,} compared{_kinds(check.counts)}")
    notes = [check.note] if check.note else []
    notes += [
        f"{each.what}: the mirror has {each.mirror}, {check.against} {each.chain}" for each in check.findings[:10]
    ]
    if len(check.findings) > 10:
        notes.append(f"and {len(check.findings) - 10:,} more")
    if check.findings and check.remedy:
        notes.append(f"What to do: {check.remedy}")
    for note in notes:
        typer.echo(f"{'':9}{note}")


def _kinds(counts: Mapping[str, int]) -> str:
    """Of what kinds so many were compared: ", 1,180 raw logs and 2 totals"."""
    said = [f"{count:,} {_plural(kind, count)}" for kind, count in counts.items()]
    return f": {', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else f": {said[0]}" if said else ""


def _plural(kind: str, count: int) -> str:
    noun, _, rest = kind.partition(" without ")
    return kind if count == 1 else f"{noun}s without {rest}" if rest else f"{noun}s"


def _report(report: verification.Report, seed: int) -> dict[str, Any]:
    return {
        "equal": report.equal,
        "block": report.block_number,
        "block_hash": "0x" + report.block_hash.hex(),
        "seed": seed,
        "checks": [
            {
                "name": check.name,
                "compared": check.compared,
                "counts": check.counts,
                "note": check.note,
                "findings": [vars(finding) for finding in check.findings],
            }
            for check in report.checks
        ],
    }


@app.command()
def migrate() -> None:
    """Make the chain tables and views. With TROUPE_ADMIN_DATABASE_URL, the roles and the schema too."""
    with one_sentence():
        settings = load_settings()
        typer.echo(migration.migrate(settings.indexer_database_url, settings.admin_database_url).capitalize())


def _ask_before_emptying() -> None:
    """Go on only if somebody says so: fetching everything again can take hours, and readers see an empty mirror."""
    if not sys.stdin.isatty():
        complain("This empties the mirror until `run` has fetched everything again: say --yes if that is meant")
        raise typer.Exit(WRONG_USAGE)
    typer.confirm("Empty the mirror, and fetch everything again with `run`?", abort=True)


@app.command()
def rebuild(
    from_chain: Annotated[
        bool, typer.Option("--from-chain", help="Empty the mirror, so that `run` fetches everything again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --from-chain: empty it without asking.")] = False,
) -> None:
    """Make the tables anew, from the mirror's raw logs where they are this deployment's, else from the chain."""
    with one_sentence():
        settings, deployment = deployed()
        if from_chain and not yes:
            _ask_before_emptying()
        done = rebuilding.rebuild(
            settings.indexer_database_url,
            deployment,
            from_chain=from_chain,
            lock_wait_s=settings.indexer_lock_wait_s,
        )
        typer.echo(done)


@app.command()
def reindex(
    first: Annotated[
        int | None, typer.Option("--from", min=1, metavar="BLOCK", help="The mirror's first if none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Fetch and decode again from a block on, and put right what differs. 1 if anything was wrong, and what.

    Stop the indexer first. A pass that was broken off goes on where it stopped.
    """
    with one_sentence():
        settings, deployment = deployed()
        store = Store(settings.indexer_database_url, deployment, lock_wait_s=settings.indexer_lock_wait_s)
        try:
            with PassBar("Reindexing") as bar:
                outcome = _patiently(
                    lambda: reindexing.reindex(
                        store,
                        deployment,
                        Nodes(settings.rpc_url),
                        first=first,
                        range_bytes=settings.indexer_range_bytes,
                        report=lambda done, cursor: bar.step(
                            first=done.first, at=done.next - 1, last=cursor.head_number, wrong=done.wrong
                        ),
                    )
                )
        finally:
            store.close()
        if as_json:
            hashes = {name: "0x" + getattr(outcome, name).hex() for name in ("digest_before", "digest_after")}
            sys.stdout.buffer.write(orjson.dumps(vars(outcome) | hashes | {"right": outcome.right}) + b"\n")
        else:
            _print_outcome(outcome)
        if not outcome.right:
            raise typer.Exit(FAILED)


def _rows(count: int) -> str:
    return "1 row was" if count == 1 else f"{count:,} rows were"


def _print_outcome(outcome: reindexing.Outcome) -> None:
    typer.echo(f"Blocks {outcome.first:,} to {outcome.last:,} fetched and decoded again: {outcome.logs:,} logs")
    for finding in outcome.findings[:SHOWN]:
        complain(f"  {finding}")
    if outcome.wrong > SHOWN:
        complain(f"  and {outcome.wrong - SHOWN:,} more")
    typer.echo(f"{'Digest before':<15}0x{outcome.digest_before.hex()}")
    typer.echo(f"{'Digest after':<15}0x{outcome.digest_after.hex()}")
    wrong = f"{_rows(outcome.wrong)} wrong" if outcome.wrong else "The digest was wrong"
    verdict = "The mirror was as the chain is" if outcome.right else f"{wrong}, and put right"
    typer.secho(verdict, fg="green" if outcome.right else "red")


if __name__ == "__main__":
    app(prog_name="python -m indexer")
