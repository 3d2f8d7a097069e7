"""`./troupe doctor`: runs every check in order and says what each found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stack import checks
from stack.checks import Finding, Level
from stack.target import Target

Check = Callable[[Target], Finding]

INSTALLED: Mapping[str, Check] = {
    "python": checks.check_python,
    "environments": checks.check_environments,
    "node": checks.check_node,
    "anvil": checks.check_anvil,
    "compiler": checks.check_compiler,
    "kubo": checks.check_kubo,
    "disk": checks.check_disk,
    "stack": checks.check_stack,
    "ports": checks.check_ports,
    "content store": checks.check_content,
}
RUNNING: Mapping[str, Check] = {
    "database": checks.check_database,
    "product tables": checks.check_product_tables,
    "chain tables": checks.check_chain_tables,
    "database roles": checks.check_database_roles,
    "redis": checks.check_redis,
    "chain": checks.check_chain,
    "contracts": checks.check_contracts,
    "contract roles": checks.check_roles,
    "indexer": checks.check_indexer,
    "api": checks.check_api,
    "keys": checks.check_keys,
    "worker": checks.check_worker,
    "tasks": checks.check_tasks,
    "beat": checks.check_beat,
}
"""Asked only of parts that should run."""

DEPENDS: Mapping[str, tuple[str, ...]] = {
    "product tables": ("database",),
    "chain tables": ("database",),
    "database roles": ("database",),
    "contracts": ("chain",),
    "contract roles": ("chain", "contracts"),
    "indexer": ("database", "chain", "chain tables"),
    "keys": ("database", "product tables"),
    "worker": ("redis",),
    "tasks": ("database", "product tables"),
}
"""A check whose ground failed has nothing to say."""


def examine(target: Target) -> Iterator[tuple[str, Finding]]:
    """Run every check in order and yield its finding; a surprise is a failure with its own words."""
    failed: set[str] = set()
    for name, check in [*INSTALLED.items(), *RUNNING.items()]:
        if name in RUNNING and not target.running:
            finding = Finding(Level.OFF, "not started")
        elif ground := [each for each in DEPENDS.get(name, ()) if each in failed]:
            finding = Finding(Level.OFF, f"not asked: {ground[0]} failed")
        else:
            try:
                finding = check(target)
            except Exception as error:  # a doctor that falls ill has still to say of what
                said = f"{type(error).__name__}: {checks.first_line(error)}"
                finding = checks.fail(said, "this was not foreseen; please report it")
        if finding.level is Level.FAIL or (finding.level is Level.OFF and name in DEPENDS and target.running):
            failed.add(name)
        yield name, finding
