"""docs/contracts.md shows the gas that the tests hold, name by name."""

import pytest

from scripts.gas_table import HEAD, PAGE, renewed, row


def test_the_page_shows_todays_budgets() -> None:
    assert renewed(PAGE.read_text()) == PAGE.read_text(), "run python -m scripts.gas_table"


def test_another_figure_is_noticed() -> None:
    page = PAGE.read_text()
    assert renewed(page.replace("| pay native, steady | 4", "| pay native, steady | 3")) == page


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table"):
        renewed(PAGE.read_text().replace(HEAD, ""))


def test_a_row_shows_the_ceiling_where_there_is_one() -> None:
    entry = {"measured": 1_000, "budget": 1_020, "slots": 2}
    assert row("pay", entry) == "| pay | 1,000 | 1,020 |  | 2 |"
    assert row("pay", entry | {"ceiling": 1_010}) == "| pay | 1,000 | 1,020 | 1,010 | 2 |"
