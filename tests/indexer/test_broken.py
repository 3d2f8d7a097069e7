"""Connections that break at the worst moment, a database that refuses: nothing is lost, nothing comes twice (V5)."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from indexer import deployment
from indexer.errors import Fatal, Retryable
from indexer.fetch import ahead
from indexer.health import readiness
from indexer.nodes import Nodes
from indexer.rpc import Rpc, retry_after_s
from indexer.store import Store
from indexer.sync import Sync
from stack.postgres import SOCKET_NAME
from tests.indexer.conftest import Following, Mirrored, eventually
from tests.indexer.relay import Fate, Relay, Rule, Side, relay, to_port, to_unix
from tests.indexer.support import random_block, random_record, settings
from tests.indexer.test_sync import head_hash

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("said", "date", "seconds"),
    [
        ("7", None, 7),
        ("Sat, 21 Nov 2026 12:00:30 GMT", NOON, 30),
        ("Sat, 21 Nov 2026 12:00:30 GMT", None, 20),
        ("Saturday, 21-Nov-26 12:00:30 GMT", NOON, 30),
        ("Sat, 21 Nov 2026 11:59:00 GMT", NOON, None),
        ("Sat, 21 Nov 2026 12:00:30 GMT", "noon", None),
        ("soon", None, None),
        ("-3", None, None),
        ("\u0663", None, None),
    ],
)
def test_a_node_may_say_how_long_to_wait_by_a_date(said: str, date: str | None, seconds: float | None) -> None:
    noon_here = 1_795_262_410  # ten seconds after the node's noon
    assert retry_after_s(said, date, noon_here) == seconds


# ------------------------------------------------------------------------------------------------- half-open sockets


@contextmanager
def answering(say: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that reads one request of each connection and then does what `say` does; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    kept = []

    def serve(connection: socket.socket) -> None:
        try:
            connection.recv(65_536)
            say(connection, over)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        for each in (listener, *kept):
            each.close()


def test_a_node_that_accepts_and_never_answers_is_given_up() -> None:
    with (
        answering(lambda connection, over: None) as url,
        pytest.raises(Retryable, match="it took too long"),
    ):
        Rpc(url, read_timeout_s=0.05).call("eth_chainId")


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b" "),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["body", "continue", "header", "trailer"],
)
def test_a_node_whose_answer_drips_without_end_is_given_up(begins: bytes, goes_on: bytes) -> None:
    """Each byte comes in time; all of them never would."""

    def drip(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(begins)
        while not over.wait(0.01):
            connection.sendall(goes_on)

    with answering(drip) as url, pytest.raises(Retryable, match="it took too long"):
        Rpc(url, read_timeout_s=30, answer_timeout_s=0.3).call("eth_chainId")


@pytest.mark.slow
def test_v5_a_node_that_is_lost_without_a_word_is_replaced(mirrored: Mirrored) -> None:
    """In the middle of its work nothing comes through any more, and no end of the connection either."""
    rng = random.Random(31)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(60)))
    heard = 0

    def lose(side: Side, data: bytes) -> Fate:
        nonlocal heard
        heard += side == "server"
        return "swallow" if heard > 6 else "pass"

    with relay(to_port(mirrored.emitter.url)) as lost:
        lost.rule = lose
        urls = f"http://127.0.0.1:{lost.port},{mirrored.emitter.url}"
        sync = Sync(
            settings(mirrored.urls, urls, mirrored.manifest, indexer_range_bytes=10_000),
            deployment.load(mirrored.manifest),
            nodes=Nodes(urls, read_timeout_s=1.0),
        )
        sync.run(until_caught_up=True)
    assert heard > 6
    assert sync.progress.retries >= 1
    assert mirrored.difference() is None


def test_what_is_fetched_ahead_ends_with_its_reader_and_fails_where_it_is_read() -> None:
    made = []

    def parts() -> Iterator[int]:
        for number in range(1_000):
            made.append(number)
            yield number
            if number == 2:
                raise Retryable("the third was the last")

    with ahead(parts()) as read:
        assert [next(read), next(read), next(read)] == [0, 1, 2]
        with pytest.raises(Retryable, match="the third was the last"):
            next(read)
    made.clear()
    before = threading.active_count()
    with ahead(iter(lambda: made.append(0), 1)) as endless:
        next(endless)
    assert threading.active_count() == before
    assert len(made) <= 8, "it does not run away from its reader"


# ------------------------------------------------------------------------------------------- a cut through the COMMIT


@contextmanager
def through(mirrored: Mirrored) -> Iterator[tuple[Relay, Callable[..., Sync]]]:
    """A relay before the database, and what makes an indexer that goes through it."""
    with relay(to_unix(f"{mirrored.urls.socket_dir}/{SOCKET_NAME}")) as before:

        def sync(**changes: Any) -> Sync:
            url = f"postgresql+psycopg://troupe_indexer@127.0.0.1:{before.port}/{mirrored.urls.name}"
            given = settings(mirrored.urls, mirrored.emitter.url, mirrored.manifest, **changes)
            return Sync(
                replace(given, indexer_database_url=url),
                deployment.load(mirrored.manifest),
                backoff_s=(0.01, 0.1),
            )

        yield before, sync


def at_commit(number: int, side: Side, fate: Fate) -> Rule:
    """The fate of the connection at its `number`th COMMIT, as the client sends it or as the server confirms it."""
    seen = 0

    def rule(sender: Side, data: bytes) -> Fate:
        nonlocal seen
        if sender == side and b"COMMIT\0" in data:
            seen += 1
            if seen == number:
                return fate
        return "pass"

    return rule


CUTS: dict[str, tuple[Side, Fate]] = {
    "never arrived": ("client", "cut"),
    "done and not confirmed": ("server", "cut"),
    "done, and the server does not know that we are gone": ("server", "leave"),
}


def told_once(mirrored: Mirrored) -> None:
    """The outbox names each block once, in order."""
    with psycopg.connect(mirrored.urls.conninfo()) as connection:
        rows = connection.execute(
            "SELECT (message->>'first')::int, (message->>'head')::int FROM chain.outbox"
            " WHERE message->>'kind' = 'blocks' ORDER BY id"
        ).fetchall()
    blocks = [number for first, head in rows for number in range(first, head + 1)]
    assert blocks == list(range(mirrored.emitter.start, mirrored.emitter.height() + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", CUTS)
@pytest.mark.feature("Q4", via="chain")
def test_v5_a_connection_cut_in_the_commit(mirrored: Mirrored, name: str) -> None:
    """Whether it was committed nobody knows: the database is asked. The third commit is in the backfill."""
    rng = random.Random(name)
    mirrored.emitter.mine(*([random_record(rng)] for _ in range(50)))
    with through(mirrored) as (before, sync):
        before.rule = at_commit(3, *CUTS[name])
        broken = sync(indexer_range_bytes=10_000, indexer_lock_wait_s=10)
        broken.run(until_caught_up=True)
    assert broken.progress.retries == 1
    assert mirrored.difference() is None
    told_once(mirrored)


@pytest.mark.slow
def test_v5_our_own_lost_connection_would_keep_us_out(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: without ending it at the server, its lock stands against ourselves."""
    monkeypatch.setattr(Store, "_end_previous", lambda self, connection: None)
    mirrored.emitter.mine(*([random_record(random.Random(1))] for _ in range(3)))
    with through(mirrored) as (before, sync):
        before.rule = at_commit(2, "server", "leave")
        with pytest.raises(Fatal, match="Another indexer writes"):
            sync().run(until_caught_up=True)


# ------------------------------------------------------------------------------------------- a database that refuses


FULL = """
    CREATE TABLE public.disk (is_full boolean);
    INSERT INTO public.disk VALUES (true);
    GRANT SELECT ON public.disk TO PUBLIC;
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT is_full FROM public.disk) THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER refuse AFTER INSERT ON chain.log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse();
"""


@pytest.mark.slow
def test_v5_a_full_disk_is_told_and_the_work_goes_on_when_there_is_room(mirrored: Mirrored) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    before = mirrored.rows()
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute(FULL)
        mirrored.emitter.mine([random_record(random.Random(2))])
        with mirrored.following() as following:
            progress = following.sync.progress
            eventually(lambda: progress.retries > 1, "it is tried more than once")
            _, detail = readiness(progress, 0.0, progress.last_progress + 1)
            assert detail["last_error"].startswith("The database's disk is full: make room there, and the mirror goes")
            assert not detail["ready"]
            assert mirrored.rows() == before
            connection.execute("UPDATE public.disk SET is_full = false")
            following.reach(head_hash(mirrored.emitter))
    assert mirrored.difference() is None
    told_once(mirrored)


def waiting(connection: psycopg.Connection[Any]) -> bool:
    """Whether the indexer waits for a lock."""
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'indexer'"
        " AND wait_event_type = 'Lock'"
    ).fetchone()
    return row == (1,)


def blocked(following: Following, watcher: psycopg.Connection[Any]) -> None:
    eventually(lambda: waiting(watcher), f"the indexer waits; it says {following.sync.progress}")


@pytest.fixture
def watched(mirrored: Mirrored) -> Iterator[psycopg.Connection[Any]]:
    """A mirror at its chain's head, one block behind it, and a connection that looks on."""
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    mirrored.emitter.mine([random_record(random.Random(2))])
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as watcher:
        yield watcher


@pytest.mark.slow
def test_v5_a_step_that_could_not_be_serialized_is_repeated(
    mirrored: Mirrored, watched: psycopg.Connection[Any]
) -> None:
    """Whatever isolation the operator has set for the role; here another transaction touches the cursor's row."""
    watched.execute(f"ALTER DATABASE {mirrored.urls.name} SET default_transaction_isolation = 'serializable'".encode())
    with psycopg.connect(mirrored.urls.conninfo()) as other, mirrored.following() as following:
        other.execute("UPDATE chain.cursor SET updated_at = now()")
        blocked(following, watched)
        other.commit()
        following.reach(head_hash(mirrored.emitter))
        assert following.sync.progress.retries == 1
    assert mirrored.difference() is None
    told_once(mirrored)


@pytest.mark.slow
def test_v5_a_deadlock_is_taken_up_again(mirrored: Mirrored, watched: psycopg.Connection[Any]) -> None:
    watched.execute(f"ALTER DATABASE {mirrored.urls.name} SET deadlock_timeout = '2s'".encode())
    with psycopg.connect(mirrored.urls.conninfo()) as other:
        other.execute("SET deadlock_timeout = '10min'")  # so that the indexer is the one that is sent away
        other.execute("SELECT FROM chain.cursor FOR UPDATE")
        with mirrored.following() as following:
            blocked(following, watched)
            other.execute("LOCK TABLE chain.log IN ACCESS EXCLUSIVE MODE")
            progress = following.sync.progress
            eventually(lambda: "deadlock detected" in str(progress.last_error), "the indexer gives way")
            other.rollback()
            following.reach(head_hash(mirrored.emitter))
    assert mirrored.difference() is None
    told_once(mirrored)
