"""No way around the gate: tables say what they are, the source names them nowhere else, PostgreSQL refuses the rest."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Column, ForeignKey, MetaData, Table, Uuid, text
from sqlalchemy.orm import Session, sessionmaker

from backend.consent import gate, reads
from backend.consent.purposes import Purpose
from backend.db import Database
from backend.migrations.roles import BACKEND, GATE, INDEXER, ensure_roles
from backend.models import registry
from backend.models.marks import Gated, NotPersonal, OfAccount
from backend.models.personalization import FeedSettings
from stack.postgres import DatabaseUrls
from tests.backend.consent import walls

METADATA = registry.load()
GATED = [table.name for table in gate.gated_tables()]
ALLOWED = walls.allowed_by_table(METADATA)


@pytest.mark.feature("C2")
def test_every_table_says_whether_it_is_about_persons() -> None:
    assert list(walls.unmarked(METADATA)) == []


def planted(name: str, *columns: Column[object], info: object = None) -> list[str]:
    """What the walk over the schema says when a table more is there."""
    metadata = MetaData(schema="app")
    account = Table("account", metadata, Column("id", Uuid, primary_key=True))
    account.info["personal"] = OfAccount("an address", "for ever", ())
    table = Table(name, metadata, Column("id", Uuid, primary_key=True), *columns)
    if info:
        table.info["personal"] = info
    return list(walls.unmarked(metadata))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (planted("diary"), "diary does not say whether it is about persons"),
        (
            planted("diary", Column("account_id", ForeignKey("app.account.id")), info=NotPersonal("nothing in it")),
            "diary is said not to be personal and refers to an account",
        ),
        (
            planted("diary", Column("person_id", Uuid), info=NotPersonal("nothing in it")),
            "has the column person_id",
        ),
        (planted("diary", info=NotPersonal("no")), "without a reason"),
        (planted("diary", info=Gated("thoughts", "for ever")), "has no pseudonym"),
        (
            planted(
                "diary",
                Column("person_id", Uuid),
                Column("account_id", ForeignKey("app.account.id")),
                info=Gated("thoughts", "for ever"),
            ),
            "past the sealed pseudonym",
        ),
    ],
    ids=["unmarked", "reference", "column", "no reason", "no pseudonym", "link"],
)
def test_a_planted_table_is_found(found: list[str], words: str) -> None:
    assert any(words in each for each in found)


@pytest.mark.feature("C2")
def test_v11_no_module_reads_a_table_of_persons_around_the_gate() -> None:
    found = [each for module, source in walls.product() for each in walls.breaches(module, source, ALLOWED)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "rows = session.execute(text('SELECT * FROM app.engagement_event'))",
        "rows = session.execute(text('select count(*) from engagement_event'))",
        "rows = run(f'SELECT * FROM {SCHEMA}.engagement_event')",
        "rows = run('DELETE FROM app.\"consent_receipt\"')",
        "table = tables['app.feed_settings']",
        "from backend.models.engagement import EngagementEvent",
        "from backend.models import engagement\nrows = session.scalars(select(engagement.EngagementEvent))",
        "from backend.models.base import Base\nfor table in Base.metadata.sorted_tables: dump(table)",
        "from backend.models import registry\nfor table in registry.load(): dump(table)",
        "from backend.consent.gate import entered",
        "session.execute(text('SET LOCAL ROLE troupe_gate'))",
        "session.execute(text('set role ' + role))",
        "from backend.models.accounts import AuthSession",
        "rows = run('SELECT user_agent FROM app.auth_session')",
    ],
)
def test_a_planted_read_around_the_gate_is_found(source: str) -> None:
    assert list(walls.breaches("shop.planted", source, ALLOWED)), source


@pytest.mark.parametrize(
    "source",
    [
        '"""What engagement_event rows are, in words."""',
        "from backend.consent import reads\nrows = read(session, reads.FEED_HISTORY, now=now, person=person)",
        "log.info('an engagement event of this account')",
        "row['account'] = 'set apart for the role of an account'",
    ],
)
def test_what_is_no_read_is_not_called_one(source: str) -> None:
    assert list(walls.breaches("shop.planted", source, ALLOWED)) == []


@pytest.mark.feature("C2")
@pytest.mark.parametrize("role", [BACKEND, INDEXER])
def test_v11_postgresql_itself_refuses_the_tables_to_a_role_that_is_not_the_gates(
    clean_db: DatabaseUrls, role: str
) -> None:
    assert len(GATED) >= 6
    with psycopg.connect(clean_db.conninfo(role)) as connection:
        for table in GATED:
            for statement in ("SELECT count(*) FROM {}", "DELETE FROM {}", "COPY {} TO STDOUT", "LOCK TABLE {}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(statement).format(sql.Identifier("app", table)))
                connection.rollback()


def test_the_gates_role_signs_in_nowhere_and_is_nobodys_but_the_backends(clean_db: DatabaseUrls) -> None:
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(clean_db.conninfo(GATE))
    indexer = psycopg.connect(clean_db.conninfo(INDEXER))
    with indexer as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SET ROLE {GATE}")


def test_migrating_again_does_not_open_the_gate(clean_db: DatabaseUrls) -> None:
    with psycopg.connect(clean_db.conninfo()) as connection:
        ensure_roles(connection)
    backend = psycopg.connect(clean_db.conninfo(BACKEND))
    with backend as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT FROM app.engagement_event")


def test_every_table_of_the_database_is_a_models(clean_db: DatabaseUrls) -> None:
    with psycopg.connect(clean_db.conninfo()) as connection:
        found = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'")}
    assert found - {"alembic_version"} == {table.name for table in METADATA.sorted_tables}


@pytest.fixture
def sessions(clean_db: DatabaseUrls) -> Iterator[sessionmaker[Session]]:
    database = Database(clean_db.backend)
    yield database.sessions
    database.dispose()


def test_the_role_is_left_when_the_gate_is_left_also_by_an_error(sessions: sessionmaker[Session]) -> None:
    def role(session: Session) -> str:
        return str(session.scalar(text("SELECT current_user")))

    with sessions() as session:
        with gate.entered(session):
            assert role(session) == GATE
        assert role(session) == BACKEND
        with pytest.raises(RuntimeError), gate.entered(session):
            raise RuntimeError
        assert role(session) == BACKEND
        with pytest.raises(Exception, match="does not exist"), gate.entered(session):
            session.execute(text("SELECT * FROM app.nothing"))
        assert role(session) == BACKEND
        session.commit()
        assert role(session) == BACKEND


def test_what_waits_to_be_written_before_the_gate_is_written_with_its_own_rights(
    sessions: sessionmaker[Session],
) -> None:
    with sessions() as session:
        session.add(FeedSettings(person_id=uuid.uuid4(), enabled=True, changed_at=datetime.now(UTC)))
        with pytest.raises(Exception, match="permission denied"), gate.entered(session):
            pass


def test_a_read_must_take_its_persons_from_the_gate() -> None:
    with pytest.raises(ValueError, match="reads past the gate"):
        gate.Read("x.y", "all of it", (), "SELECT * FROM app.engagement_event")
    with pytest.raises(ValueError, match="does not ask for it"):
        gate.Read("x.y", "all of it", (), "SELECT * FROM allowed", purpose=Purpose.RESEARCH)


def test_every_reader_has_words_and_a_name_of_its_own() -> None:
    names = [(read.reader, read.what) for read in reads.READS]
    assert len({name for name, _ in names}) == len(set(names))
    assert all(what.endswith(".") for _, what in names)
