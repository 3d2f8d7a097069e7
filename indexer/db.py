"""The database's amounts as int, for those who read it with SQLAlchemy."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import Dialect, Numeric
from sqlalchemy.types import TypeDecorator


class Uint256(TypeDecorator[int]):
    """NUMERIC(78,0), which holds every uint256 and int256; an `int` in Python, never a float or a Decimal."""

    impl = Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"an amount is an int, not {value!r}")
        return Decimal(value)

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)
