"""A database, a chain and a funded operator for the sender's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from backend.node import Node
from backend.sender.keys import OperatorKey
from stack.anvil import CHAIN_ID, Anvil
from stack.postgres import DatabaseUrls
from tests.backend.sender.chain import ETHER, Chain, operator


@pytest.fixture
def key() -> OperatorKey:
    return OperatorKey(operator(), CHAIN_ID)


@pytest.fixture
def engine(clean_db: DatabaseUrls) -> Iterator[Engine]:
    engine = create_engine(clean_db.backend)
    yield engine
    engine.dispose()


@pytest.fixture
def chain(anvil: Anvil, key: OperatorKey) -> Iterator[Chain]:
    with Node(anvil.url) as node:
        chain = Chain(node, anvil.url)
        chain.fund(key.address, 1_000 * ETHER)
        yield chain
