"""A page that is open follows what happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from stack.postgres import DatabaseUrls
from tests.backend.edge.streams import TellingMirror
from tests.backend.payouts.conftest import Tell
from tests.factories import Mirror
from tests.web.test_pages import ALICE, assert_quiet, season

pytestmark = [pytest.mark.browser, pytest.mark.feature("R9", via="page")]


COUNTING = """
const Real = window.EventSource;
window.EventSource = class extends Real {
  constructor(url) {
    super(url);
    this.addEventListener("hello", () => { window.streams += 1; });
  }
};
"""
"""Counts the streams that have begun."""


def test_an_open_page_looks_again_when_it_is_told(
    open_page: Callable[..., Page], tell: Tell, clean_db: DatabaseUrls
) -> None:
    tell(season())
    mirror = Mirror(clean_db)
    page = open_page(f"/payouts/{ALICE}", script="window.streams = 0;" + COUNTING)
    page.wait_for_function("() => window.streams === 1")
    with page.expect_request("**/headline"):
        TellingMirror(mirror, clean_db).undo(10**9)
    assert_quiet(page)
    mirror.close()
