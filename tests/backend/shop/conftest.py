"""The market of a test, and its people."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from eth_account.signers.local import LocalAccount

from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.shop.market import Market
from tests.conftest import Deployed

People = Callable[[str], LocalAccount]


@pytest.fixture
def carol(people: People) -> LocalAccount:
    return people("carol")


@pytest.fixture
def market(
    *,
    deployed: Deployed,
    clean_db: DatabaseUrls,
    client: Client,
    alice: LocalAccount,
    bob: LocalAccount,
    carol: LocalAccount,
) -> Market:
    made = Market(deployed, clean_db, client=client)
    made.fund(alice, bob, carol)
    made.sync()
    return made
