"""The declarative base of schema `app`, and column types that every package uses."""

from __future__ import annotations

import os
import time
import uuid
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, DateTime, LargeBinary, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

SCHEMA = "app"

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all product tables. `int` is bigint, `datetime` has its zone, `str` is text, `bytes` is bytea.

    A table that needs SQL of its own after its creation (a trigger, a partition) lists the statements in
    `__table_args__ = {"info": {"after": ["CREATE TRIGGER ..."]}}`; the migration carries them.
    """

    metadata = MetaData(schema=SCHEMA, naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        uuid.UUID: Uuid,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562 version 7): milliseconds since 1970, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


Id = Annotated[uuid.UUID, mapped_column(primary_key=True, default=uuid7)]
"""The primary key of a product table."""

CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]
"""When the row was made, by the database's clock."""
