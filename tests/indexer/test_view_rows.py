"""Every view says where each of its rows was last written: held against a replay of a history, log by log.

Nothing here names a view: what is tested comes from the registry, so that a new view is tested too, and a history that
leaves out an event that some view reads is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, text

from indexer import schema, views
from indexer.derived import DERIVED
from indexer.models import event, metadata
from indexer.view import CREATED, WRITTEN, View
from stack.postgres import DatabaseUrls

ANNA, BORIS, CLARA, NOBODY = (bytes([n]) * 20 for n in (1, 2, 3, 0))
ETH, USD = bytes(20), b"$" * 20
Entry = tuple[str, str, dict[str, Any]]
Place = tuple[int, int]
Row = dict[str, Any]


def word(number: int) -> bytes:
    return number.to_bytes(32)


def entry(contract: str, name: str, **values: Any) -> Entry:
    return contract, name, values


def sides(*parts: int) -> bytes:
    """A divided ballot's params."""
    return b"".join(part.to_bytes(16) for part in parts)


WORKS = [
    entry("WorkRegistry", "LicenceCreated", licence_id=1, creator=ANNA),
    entry("WorkRegistry", "RoyaltyChanged", new_bps=500),
    *(
        each
        for work, parents in ((1, ()), (2, (1,)), (3, (1,)), (4, (2, 3)), (5, (4, 1)))
        for each in (
            entry("WorkRegistry", "Transfer", from_=NOBODY, to_=ANNA, token_id=work),
            entry("WorkRegistry", "WorkRegistered", work_id=work, owner=ANNA, content_hash=word(work)),
            *(entry("WorkRegistry", "DerivationRecorded", work_id=work, parent_id=parent) for parent in parents),
        )
    ),
    entry("WorkRegistry", "Transfer", from_=ANNA, to_=BORIS, token_id=1),
    entry("WorkRegistry", "MetadataChanged", work_id=1, cid_digest=word(70)),
    entry("WorkRegistry", "AiLabelChanged", work_id=1, label=3),
    entry("WorkRegistry", "WorkStatusChanged", work_id=2, status=1),
    entry("WorkStanding", "DisputeClosed", work_id=1, claimant=BORIS, outcome=2),
    entry("WorkStanding", "DisputeClosed", work_id=1, claimant=CLARA, outcome=1),
    entry("WorkStanding", "DisputeBondChanged", new_bond=9),
]
MONEY = [
    entry("RevenueLedger", "FeeChanged", new_bps=500),
    entry("RevenueLedger", "TokenAllowed", token=USD, allowed=True),
    entry("RevenueLedger", "SplitActivated", work_id=1, version=1),
    entry("RevenueLedger", "SplitActivated", work_id=2, version=1),
    entry("RevenueLedger", "EdgeOpened", work_id=2, index=0, parent_id=1),
    entry("RevenueLedger", "PaymentReceived", work_id=2, token=ETH, amount=100, fee=5),
    entry("RevenueLedger", "PaymentReceived", work_id=2, token=USD, amount=100, fee=0),
    entry("RevenueLedger", "EdgeSettled", work_id=2, parent_id=1, token=ETH, index=0, amount=9),
    entry("RevenueLedger", "EdgeSettled", work_id=2, parent_id=1, token=ETH, index=0, amount=8),
    entry("RevenueLedger", "SplitActivated", work_id=2, version=2),
    entry("RevenueLedger", "PaymentReceived", work_id=2, token=ETH, amount=50, fee=2),
    entry("RevenueLedger", "Withdrawn", work_id=2, account=ANNA, token=ETH, version=1, position=1, amount=3),
    entry("RevenueLedger", "Withdrawn", work_id=2, account=ANNA, token=ETH, version=1, position=1, amount=4),
    entry("RevenueLedger", "FeeChanged", new_bps=400),
    entry("RevenueLedger", "TokenAllowed", token=USD, allowed=False),
]
HOUSE = [
    entry("TroupeToken", "Transfer", from_=NOBODY, to_=ANNA, value=1000),
    entry("TroupeGovernor", "QuorumNumeratorUpdated", new_quorum_numerator=4),
    entry("TroupeToken", "Transfer", from_=ANNA, to_=BORIS, value=300),
    entry("TroupeToken", "DelegateChanged", delegator=ANNA, to_delegate=CLARA),
    entry("TroupeToken", "DelegateVotesChanged", delegate=CLARA, new_votes=700),
    entry("TroupeToken", "Transfer", from_=BORIS, to_=NOBODY, value=100),
    *(
        entry("TroupeGovernor", "ProposalCreated", proposal_id=n, proposer=ANNA, vote_start=10, vote_end=20 + n)
        for n in (1, 2, 3)
    ),
    entry("TroupeGovernor", "VoteCast", voter=CLARA, proposal_id=1, support=1, weight=5),
    entry("TroupeGovernor", "VoteCast", voter=BORIS, proposal_id=2, support=0, weight=7),
    entry(
        *("TroupeGovernor", "VoteCastWithParams"),
        **{"voter": ANNA, "proposal_id": 1, "support": 255, "weight": 2**100, "params": sides(1, 2**99, 2**31)},
    ),
    entry("TroupeGovernor", "ProposalExtended", proposal_id=1, extended_deadline=99),
    entry("TroupeGovernor", "ProposalQueued", proposal_id=1, eta_seconds=123),
    entry("TroupeGovernor", "ProposalCanceled", proposal_id=3),
    entry("TroupeGovernor", "ProposalExecuted", proposal_id=1),
    entry("TroupeToken", "DelegateVotesChanged", delegate=CLARA, new_votes=0),
    entry("TroupeToken", "DelegateChanged", delegator=ANNA, to_delegate=NOBODY),
]


def root(name: str, epoch: int, **values: Any) -> Entry:
    return entry("RewardDistributor", name, token=USD, epoch=epoch, **values)


REWARDS = [
    entry("RewardDistributor", "CapsChanged", token=USD),
    entry("RewardDistributor", "Funded", token=USD, amount=50),
    root("RootProposed", 1, root=word(1), total=10, finalizable_at=100),
    root("RootChallenged", 1),
    root("ChallengeResolved", 1, upheld=False, finalizable_at=200),
    root("RootChallenged", 1),
    root("RootRejected", 1, reason=2),
    root("RootProposed", 1, root=word(2), total=11, finalizable_at=300),
    root("RootFinalized", 1, root=word(2), total=11),
    entry("RewardDistributor", "RewardClaimed", account=ANNA, token=USD, amount=3, epoch=1),
    entry("RewardDistributor", "RewardClaimed", account=ANNA, token=USD, amount=2, epoch=1),
    root("RootProposed", 2, root=word(3), total=30, finalizable_at=400),
]
ITEM, SCORE = 7, 1 << 32 | 1
SHOP = [
    entry("Items", "ItemCreated", id=ITEM, work_id=1),
    entry("Items", "ItemExpirySet", id=ITEM, expires_at=88),
    entry("Items", "TransferSingle", from_=NOBODY, to_=ANNA, id=ITEM, value=5),
    entry("Items", "TransferBatch", from_=ANNA, to_=BORIS, ids=[str(ITEM), "8", str(ITEM)], values_=["1", "0", "2"]),
    entry("Items", "TransferSingle", from_=ANNA, to_=NOBODY, id=ITEM, value=1),
    entry("Items", "TransferBatch", from_=NOBODY, to_=CLARA, ids=["8"], values_=["4"]),
    entry("Characters", "ClassCreated", class_id=1, work_id=1),
    entry("Characters", "OrganiserSet", class_id=1, organiser=ANNA),
    entry("Characters", "TraitSetterSet", class_id=1, trait_setter=ANNA),
    entry("Characters", "Transfer", from_=NOBODY, to_=ANNA, token_id=SCORE),
    entry("Characters", "CharacterMinted", token_id=SCORE, class_id=1, to_=ANNA),
    entry("Characters", "MetadataChanged", token_id=SCORE, cid_digest=word(5)),
    entry("Characters", "UpdateUser", token_id=SCORE, user_=BORIS, expires=77),
    entry("Characters", "CheckedIn", token_id=SCORE),
    entry("Characters", "Exported", token_id=SCORE),
    entry("Characters", "Imported", token_id=SCORE),
    *(
        each
        for listing, kind in ((1, 0), (2, 3))
        for each in (
            entry("Storefront", "Listed", listing_id=listing, work_id=1, seller=ANNA, kind=kind, price=10),
            entry("Storefront", "ListingTerms", listing_id=listing, asset_id=SCORE),
        )
    ),
    entry("Characters", "Transfer", from_=ANNA, to_=CLARA, token_id=SCORE),
    entry("WorkRegistry", "Transfer", from_=BORIS, to_=CLARA, token_id=1),
    entry("Storefront", "ListingRepriced", listing_id=1, price=12),
    entry("Storefront", "Purchased", listing_id=1, qty=2),
    entry("Storefront", "ListingCancelled", listing_id=2),
    entry("Storefront", "PlanCreated", plan_id=1, work_id=1),
    entry("Storefront", "Subscribed", plan_id=1, subscriber=BORIS, expires_at=1000),
    entry("Storefront", "Subscribed", plan_id=1, subscriber=BORIS, expires_at=2000),
    entry("Storefront", "PlanClosed", plan_id=1),
    entry("Characters", "Transfer", from_=CLARA, to_=NOBODY, token_id=SCORE),
]
HISTORY = [*WORKS, *MONEY, *HOUSE, *REWARDS, *SHOP]
"""Each log changes what some row says: one that repeats what was said would write it, unseen by who compares rows."""

EMPTY = {"bytea": bytes(20), "text": "", "bool": False, "int8": 0, "int4": 0, "numeric": 0, "jsonb": []}
READS = re.compile(r"\bchain\.(\w+)")
SOURCES = {table.name: schema.events()[key].name for key, (table, _) in DERIVED.items()}
"""Derived table -> the event's table that it is made from."""


def tables_of(view: View) -> set[str]:
    """The event tables that a view reads, itself or by other views."""
    by_name = {each.name: each for each in views.VIEWS}
    found: set[str] = set()
    for name in set(READS.findall(view.query)):
        found |= tables_of(by_name[name]) if name in by_name else {SOURCES.get(name, name)}
    return found


@pytest.fixture
def connection(module_db_urls: DatabaseUrls) -> Iterator[Connection]:
    """A mirror of its own in a transaction that is undone."""
    engine = create_engine(module_db_urls.indexer)
    with engine.connect() as opened:
        yield opened
        opened.rollback()
    engine.dispose()


def write(connection: Connection, logged: Entry, at: Place) -> str:
    """Write an event's row as the indexer would, with zeros for what was not said; returns its table."""
    contract, name, values = logged
    table = event(contract, name)
    kinds = {column.name: column.kind for column in schema.events()[contract, name].columns}
    place = {"block_number": at[0], "log_index": at[1], "block_time": 1000 + at[0], "tx_hash": word(at[0])}
    defaults = {column: EMPTY[kind] for column, kind in kinds.items()}
    assert values.keys() <= kinds.keys(), (name, values.keys() - kinds.keys())
    row = defaults | place | values
    connection.execute(insert(table).values(row))
    if (contract, name) in DERIVED:
        described, make = DERIVED[contract, name]
        made = metadata.tables[f"{schema.SCHEMA}.{described.name}"]
        for each in make(tuple(row[column.name] for column in table.columns)):
            connection.execute(insert(made).values(each))
    return table.name


def rows_of(connection: Connection, view: View) -> dict[tuple[Any, ...], Row]:
    """A view's rows by its key, which must tell them apart."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in connection.execute(text(f"SELECT * FROM chain.{view.name}")).mappings():
        key = tuple(row[column] for column in view.key)
        assert key not in found, f"chain.{view.name} has two rows {key}"
        found[key] = dict(row)
    return found


def said(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in WRITTEN}


def replay(connection: Connection, history: Iterable[Entry], among: Iterable[View]) -> dict[str, dict[Any, Row]]:
    """Write a history log by log; after each, a row is written there if it is new or says something else than before.

    Asserts that each view names that place for each of its rows. Returns the views' rows at the end.
    """
    reads = {view.name: (view, tables_of(view)) for view in among}
    known: dict[str, dict[Any, Row]] = {name: rows_of(connection, view) for name, (view, _) in reads.items()}
    places: dict[str, dict[Any, Place | None]] = {name: dict.fromkeys(rows) for name, rows in known.items()}
    for number, logged in enumerate(history):
        at = (1 + number // 3, 5 * (number % 3))
        table = write(connection, logged, at)
        for name, (view, tables) in reads.items():
            if table not in tables:
                continue
            rows = rows_of(connection, view)
            before, written = known[name], places[name]
            places[name] = {
                key: written[key] if key in before and said(row) == said(before[key]) else at
                for key, row in rows.items()
            }
            known[name] = rows
            for key, row in rows.items():
                where = (row["block_number"], row["log_index"])
                assert where == (places[name][key] or (None, None)), f"{name} {key} after {logged}: {row}"
    return known


def test_every_view_has_the_block_and_log_index_of_its_rows_last_write() -> None:
    for view in views.VIEWS:
        lacking = {name: kind for name, kind in WRITTEN.items() if view.columns.get(name) != kind}
        assert not lacking, f"chain.{view.name} lacks {lacking}"
        assert set(view.key) <= view.columns.keys()


def test_the_history_leaves_no_event_out_that_a_view_reads() -> None:
    read = set().union(*(tables_of(view) for view in views.VIEWS))
    assert {event(contract, name).name for contract, name, _ in HISTORY} == read


def test_every_row_names_the_log_that_wrote_it_last(connection: Connection) -> None:
    """The oracle knows nothing of how a view finds the place: it sees rows change."""
    found = replay(connection, HISTORY, views.VIEWS)
    for view in views.VIEWS:
        rows = found[view.name].values()
        assert rows, f"the history gives chain.{view.name} no row"
        if CREATED.keys() <= view.columns.keys():
            assert any((row["block_number"]) > row["created_block"] for row in rows), f"{view.name} never changed"


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("work", "greatest(", "least("),
        ("listing", ", b.place", ""),
        ("settled", "max(ARRAY", "min(ARRAY"),
        ("token_account", "SELECT delegator, 0,", "SELECT delegator, 0, 0 *"),
        ("ancestor", "ORDER BY ancestor_id, depth, place", "ORDER BY ancestor_id, depth, place DESC"),
        ("reward_root", "AND NOT e.upheld", "AND e.upheld"),
    ],
)
def test_a_planted_bug_is_found(connection: Connection, name: str, right: str, wrong: str) -> None:
    view = next(each for each in views.VIEWS if each.name == name)
    assert right in view.query
    connection.execute(text(f"CREATE OR REPLACE VIEW chain.{name} AS {view.query.replace(right, wrong)}"))
    with pytest.raises(AssertionError, match=f"{name} \\("):
        replay(connection, HISTORY, [view])


def test_rows_can_be_joined_to_the_raw_log() -> None:
    """Same names and kinds as the log's own."""
    kinds = {column.name: column.kind for column in schema.LOG.columns}
    assert {name: kinds[name] for name in WRITTEN} == dict(WRITTEN)
