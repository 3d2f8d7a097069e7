"""Looks for ways around the gate: in the tables' own words, in the database, and in the product's source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import MetaData, Table, Uuid

from backend.migrations.roles import GATE
from backend.models.accounts import Account
from backend.models.base import Base
from backend.models.marks import Gated, NotPersonal, OfAccount

ROOT = Path(__file__).parents[3] / "backend"

GATE_MODULES = ("consent", "migrations", "models")
"""What makes and keeps the tables, and what reads and writes them: the gate's own package."""
ALL_TABLES = ("backup", "consent", "migrations", "models")
"""May walk over all tables at once: what makes them, what copies ciphertext as the database's owner, and the gate."""
PERSON_COLUMNS = re.compile(r"(^|_)(person|account|user|visitor|viewer|owner|member)(_id)?$|user_agent|email|phone")
"""Names of columns that are about somebody."""
ROLE = re.compile(rf"\b{GATE}\b|\bset\s+(local\s+|session\s+)*role\b|set_config\s*\(\s*'role'", re.I)
"""How a statement takes another role."""


def unmarked(metadata: MetaData) -> Iterator[str]:
    """What is missing or contradictory in what tables say about themselves."""
    for table in metadata.sorted_tables:
        mark = table.info.get("personal")
        if not isinstance(mark, Gated | OfAccount | NotPersonal):
            yield (
                f"{table.name} does not say whether it is about persons: end its __table_args__ with marked(...)"
                " (backend/models/marks.py)"
            )
        elif isinstance(mark, NotPersonal):
            yield from _contradicts(table, mark)
        elif isinstance(mark, Gated):
            if mark.person not in table.c or not isinstance(table.c[mark.person].type, Uuid):
                yield f"{table.name} is behind the gate and has no pseudonym in {mark.person}"
            if references_account(table):
                yield f"{table.name} is behind the gate and leads to an account past the sealed pseudonym"


def references_account(table: Table) -> bool:
    """Whether rows lead to an account by a foreign key, at once or by other tables."""
    for key in table.foreign_keys:
        target = key.column.table
        if target.name == Account.__tablename__ or (target is not table and references_account(target)):
            return True
    return False


def _contradicts(table: Table, mark: NotPersonal) -> Iterator[str]:
    if len(mark.why) < 10:
        yield f"{table.name} is said not to be personal without a reason"
    if references_account(table):
        yield f"{table.name} is said not to be personal and refers to an account"
    for column in table.c:
        if PERSON_COLUMNS.search(column.name) and isinstance(column.type, Uuid):
            yield f"{table.name} is said not to be personal and has the column {column.name}"


def module_of(path: Path) -> str:
    """backend/consent/gate.py -> consent.gate"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in allowed)


def allowed_by_table(metadata: MetaData) -> Mapping[str, tuple[str, ...]]:
    """Table -> the modules that may name it."""
    return {
        table.name: GATE_MODULES + (mark.modules if isinstance(mark, OfAccount) else ())
        for table in metadata.sorted_tables
        if isinstance(mark := table.info.get("personal"), Gated | OfAccount)
    }


def models_by_name() -> Mapping[str, str]:
    """Name of a model class -> its table."""
    return {mapper.class_.__name__: mapper.class_.__tablename__ for mapper in Base.registry.mappers}


def breaches(module: str, source: str, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Places in a module's source that reach a table of persons without being allowed to."""
    tree = ast.parse(source)
    models = {name: table for name, table in models_by_name().items() if table in allowed}
    docs = {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            for table in allowed:
                if _names(node.value, table) and not within(module, allowed[table]):
                    yield f"{module}:{node.lineno} names the table {table} in SQL"
            if ROLE.search(node.value) and not within(module, GATE_MODULES):
                yield f"{module}:{node.lineno} takes a role"
        elif isinstance(node, ast.ImportFrom):
            yield from _imports(node, module, models, allowed)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in models and not within(module, allowed[models[node.attr]]):
                yield f"{module}:{node.lineno} uses the model {node.attr}"
            if node.attr in ("metadata", "sorted_tables") and not within(module, ALL_TABLES):
                yield f"{module}:{node.lineno} walks over all tables"


def _imports(
    node: ast.ImportFrom, module: str, models: Mapping[str, str], allowed: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    for name in (alias.name for alias in node.names):
        ours = (node.module or "").startswith("backend.models")
        if ours and name in models and not within(module, allowed[models[name]]):
            yield f"{module}:{node.lineno} imports the model {name}"
        if node.module == "backend.consent.gate" and name in ("entered", "ENTER") and not within(module, GATE_MODULES):
            yield f"{module}:{node.lineno} takes the gate's role"
        if node.module == "backend.models" and name == "registry" and not within(module, ALL_TABLES):
            yield f"{module}:{node.lineno} walks over all tables"


def _names(text: str, table: str) -> bool:
    """Whether a text names a table as SQL does: with its schema, after FROM and its like, or alone as a key."""
    if table not in text:
        return False
    if text == table:
        return "_" in table  # "account" alone is a word of its own
    sql = rf"""(\bapp\s*\.\s*"?|^\s*\."?|\b(from|join|into|update|truncate|from only)\s+"?){table}\b"""
    return bool(re.search(sql, text, re.I))


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def product() -> Iterator[tuple[str, str]]:
    """Every module of the backend with its source."""
    for path in sorted(ROOT.rglob("*.py")):
        yield module_of(path), path.read_text()
