"""Rewrite versions/0001_initial.py from the models: `python -m backend.migrations.autogenerate [--check]`.

Until the first release there is one migration, made from the models alone (no database is needed). A test compares what
it builds with the models.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import ops
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import MetaData

from backend.migrations.upgrade import FOLDER
from backend.models import registry
from backend.vault.vault import Sealed
from indexer.db import Uint256

TARGET = FOLDER / "versions" / "0001_initial.py"

_HEAD = '''"""The product tables. Written by `python -m backend.migrations.autogenerate`; do not edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
{imports}

revision = "{revision}"
down_revision = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def operations(metadata: MetaData) -> Iterator[ops.MigrateOperation]:
    """What creates every table in the order of their references, its indexes, and the SQL that it asks for."""
    for table in metadata.sorted_tables:
        creation = ops.CreateTableOp.from_table(table)
        creation.info = {}  # what a table says about itself is for the code, not for the database
        yield creation
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield ops.CreateIndexOp.from_index(index)
        for statement in table.info.get("after", ()):
            yield ops.ExecuteSQLOp(statement)


def render(metadata: MetaData) -> str:
    """The migration's source, formatted."""
    context = MigrationContext.configure(dialect_name="postgresql")
    imports = {"from sqlalchemy.dialects import postgresql  # noqa: F401"}

    def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
        if kind == "type" and isinstance(item, Uint256):
            imports.add("from indexer.db import Uint256")
            return "Uint256()"
        if kind == "type" and isinstance(item, Sealed):
            return "sa.LargeBinary()"
        if kind == "type" and isinstance(item, VECTOR):
            imports.add("from pgvector.sqlalchemy import VECTOR")
            return f"VECTOR({item.dim})"
        return False

    def code(steps: list[ops.MigrateOperation]) -> str:
        text = render_python_code(ops.UpgradeOps(ops=steps), render_item=render_item, migration_context=context)
        lines = [line for line in text.splitlines() if not line.strip().startswith("# ###")]
        return "\n".join(lines).strip()

    up = list(operations(metadata))
    down: list[ops.MigrateOperation] = [ops.DropTableOp.from_table(t) for t in reversed(metadata.sorted_tables)]
    upgrade, downgrade = code(up), code(down)
    # a database made from other models than these must not pass for one of this version
    revision = "0001_" + hashlib.sha256(upgrade.encode()).hexdigest()[:8]
    source = _HEAD.format(upgrade=upgrade, downgrade=downgrade, imports="\n".join(sorted(imports)), revision=revision)
    for step in (("check", "--fix", "--select", "I,F401,RUF100"), ("format",)):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *step, "-q", "--stdin-filename", str(TARGET), "-"],
            input=source,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"the rendered migration is no Python:\n{done.stdout}{done.stderr}\n{source}")
        source = done.stdout
    return source


def main(arguments: list[str]) -> int:
    source = render(registry.load())
    if arguments == ["--check"]:
        if Path(TARGET).read_text() != source:
            sys.stderr.write(
                "backend/migrations/versions/0001_initial.py is not what the models say: run"
                " `.venv/app/bin/python -m backend.migrations.autogenerate`\n"
            )
            return 1
        return 0
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(source)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
