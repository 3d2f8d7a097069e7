"""What Alembic runs: the caller hands over the connection (backend.migrations.upgrade)."""

from __future__ import annotations

from alembic import context

from backend.migrations.upgrade import options
from backend.models import registry

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=registry.load(), **options())
with context.begin_transaction():
    context.run_migrations()
