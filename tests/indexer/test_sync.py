"""The mirror equals the chain, row for row."""

from __future__ import annotations

import random

import pytest

from tests.indexer.conftest import Mirrored
from tests.indexer.support import random_block


@pytest.mark.feature("Q4", via="cli")
def test_v5_backfill_and_head_equal_the_reference(mirrored: Mirrored) -> None:
    rng = random.Random(1)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(60)))
    mirrored.catch_up()
    assert mirrored.difference() is None
    mirrored.emitter.mine(*(random_block(rng) for _ in range(5)))
    mirrored.catch_up()
    assert mirrored.difference() is None
