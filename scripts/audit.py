"""What a reviewer's tools say about the contracts: `make audit` ends with 1 unless docs/audit.toml waives all of it.

Slither looks at every contract but the mocks, and at tests/audit, whose planted bugs it must find: an audit that missed
one has looked at nothing. The contracts that it analysed are compared with those that the sources define. Then roles
(every function that asks the AccessManager against scripts/deploy/plan.py), sizes (EIP-170) and solhint. Runs in
.venv/audit, which holds Slither and no more; what needs no Slither is tested in tests/scripts/test_audit.py.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.deploy import export_abi
from scripts.deploy.plan import RESTRICTED, ROLE_NAMES

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
CONTRACTS, MOCKS, PLANTED = ROOT / "contracts", ROOT / "contracts" / "mocks", ROOT / "tests" / "audit"
WAIVERS = ROOT / "docs" / "audit.toml"
WIDTH = 150
"""Columns of the report, also where stdout is no terminal."""
CODE_LIMIT = 24_576
"""Bytes of code that a contract may have (EIP-170)."""
IMPACTS = ("High", "Medium", "Low")
"""What Slither calls informational is style, which solhint judges."""
CLOCK_AND_CALLS = {"block.number": "block-number", "tx.origin": "origin", "delegatecall": "delegatecall"}
"""What no function of ours may touch, and the name of our finding."""
NOT_ANALYSED = "not-analysed"


class AuditError(Exception):
    """The audit can't be made; the text says why and what to do."""


@dataclass(frozen=True)
class Finding:
    """One complaint: who says it, how bad, and about what (`Contract.function`)."""

    detector: str
    impact: str
    where: str
    text: str
    calls: tuple[str, ...] = ()
    """Of a reentrancy: the external calls that it is about."""
    planted: bool = False


@dataclass(frozen=True)
class Waiver:
    """Findings that somebody has looked at. Names may have wildcards where the impact is low."""

    detector: str
    where: tuple[str, ...]
    reason: str
    calls: str = ""
    """If given, every external call of the finding must start so."""

    def covers(self, finding: Finding, pattern: str) -> bool:
        """Whether the finding is waived by this one of the waiver's patterns."""
        if finding.detector != self.detector or not fnmatchcase(finding.where, pattern):
            return False
        if finding.impact != "Low" and "*" in pattern:
            return False
        return not self.calls or (bool(finding.calls) and all(call.startswith(self.calls) for call in finding.calls))


@dataclass
class Report:
    """What one part of the audit found: rows to show, and what makes it fail."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


# -------------------------------------------------------------------------------------------------------------- sources


def sources() -> list[Path]:
    """The files that are audited, and the planted one."""
    return sorted(p for p in [*CONTRACTS.rglob("*.sol"), *PLANTED.glob("*.sol")] if MOCKS not in p.parents)


def defined(source: str) -> set[str]:
    """Names of the contracts, interfaces and libraries that a source defines."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)
    return set(re.findall(r"^\s*(?:abstract\s+)?(?:contract|interface|library)\s+(\w+)", code, flags=re.MULTILINE))


def defined_in(files: Iterable[Path]) -> set[tuple[str, str]]:
    """Every contract as (file, name)."""
    return {(str(file.relative_to(ROOT)), name) for file in files for name in defined(file.read_text())}


def read_waivers(path: Path) -> tuple[list[Waiver], list[tuple[str, str]]]:
    """The waivers, and the (detector, where) that must be found in the planted contract."""
    document = tomllib.loads(path.read_text())
    waivers = [Waiver(w["detector"], tuple(w["where"]), w["reason"], w.get("calls", "")) for w in document["waiver"]]
    if bare := [w.detector for w in waivers if len(w.reason.split()) < 5]:
        raise AuditError(f"{path.name}: a waiver needs a reason of a sentence: {', '.join(bare)}")
    return waivers, [(p["detector"], p["where"]) for p in document["planted"]]


# -------------------------------------------------------------------------------------------------------------- slither


class NotAnalysed(logging.Handler):
    """Keeps what Slither only logs: functions that it could not read and therefore never judged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[Finding] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        name = re.search(r"for (\w+\.\w+)", text)
        self.found.append(Finding(NOT_ANALYSED, "High", name[1] if name else "?", text))


def analysed() -> Any:
    """Slither over all sources with every detector registered, and the handler that kept what it could not read."""
    from crytic_compile import CryticCompile  # noqa: PLC0415  # only in .venv/audit
    from crytic_compile.platform.solc_standard_json import SolcStandardJson  # noqa: PLC0415
    from slither import Slither  # noqa: PLC0415
    from slither.detectors import all_detectors  # noqa: PLC0415
    from slither.detectors.abstract_detector import AbstractDetector  # noqa: PLC0415

    os.environ["TROUPE_ROOT"] = str(ROOT)
    # The request names the files without what is in them, so a cached answer could be that of an older source.
    os.environ.pop("TROUPE_COMPILER_CACHE", None)
    logging.getLogger("CryticCompile").setLevel(logging.ERROR)  # sizes are measured below, of optimised code
    unread = NotAnalysed()
    logging.getLogger("ContractSolcParsing").addHandler(unread)
    logging.getLogger("ContractSolcParsing").propagate = False
    request = SolcStandardJson()
    for file in sources():
        request.add_source_file(str(file.relative_to(ROOT)))
    request.add_remapping("@openzeppelin=node_modules/@openzeppelin")
    slither = Slither(CryticCompile(request, solc=str(TOOLS / "solcx" / "solc-v0.8.30")))
    for name in dir(all_detectors):
        detector = getattr(all_detectors, name)
        if isinstance(detector, type) and issubclass(detector, AbstractDetector) and detector is not AbstractDetector:
            slither.register_detector(detector)
    return slither, unread


def file_of(thing: Any) -> Path:
    return ROOT / thing.source_mapping.filename.relative


def is_ours(file: Path) -> bool:
    return CONTRACTS in file.parents or PLANTED in file.parents


def named(element: Mapping[str, Any]) -> str:
    """`Contract.function` of the thing that a finding is about."""
    parent = element["type_specific_fields"].get("parent", {}) if "type_specific_fields" in element else {}
    if element["type"] == "contract" or not parent:
        return str(element["name"])
    if parent["type"] != "contract":
        return named(parent)
    return f"{parent['name']}.{element['name']}"


def from_slither(raw: Mapping[str, Any]) -> Finding | None:
    """A result of Slither as a finding; None when no code of ours has a part in it."""
    files = [ROOT / element["source_mapping"]["filename_relative"] for element in raw["elements"]]
    if not any(map(is_ours, files)):
        return None
    calls = tuple(
        element["name"]
        for element in raw["elements"]
        if element.get("additional_fields", {}).get("underlying_type") == "external_calls"
    )
    planted = any(PLANTED in file.parents for file in files)
    where = named(raw["elements"][0])
    return Finding(raw["check"], raw["impact"], where, raw["description"].strip(), calls, planted)


def forbidden(contracts: Iterable[Any]) -> list[Finding]:
    """Our functions that use block.number, tx.origin or delegatecall."""
    found = []
    for contract in contracts:
        for function in contract.functions_declared:
            used = {variable.name for variable in function.solidity_variables_read}
            used |= {str(call.function_name) for call in function.low_level_calls}
            found += [
                Finding(
                    detector,
                    "High",
                    f"{contract.name}.{function.name}",
                    f"uses {name}",
                    planted=PLANTED in file_of(contract).parents,
                )
                for name, detector in CLOCK_AND_CALLS.items()
                if name in used
            ]
    return found


def judge(findings: Iterable[Finding], waivers: Iterable[Waiver], planted: Iterable[tuple[str, str]]) -> Report:
    """Sort findings into waived and not; a waiver without a finding and a planted bug that was missed fail too."""
    report = Report("findings", ("detector", "impact", "where or how many", "state"))
    findings = list(findings)
    used: set[tuple[Waiver, str]] = set()
    waivers = list(waivers)
    for finding in (f for f in findings if not f.planted):
        by = [(waiver, pattern) for waiver in waivers for pattern in waiver.where if waiver.covers(finding, pattern)]
        used |= set(by)
        if not by:
            report.rows.append((finding.detector, finding.impact, finding.where, "[red]not waived[/]"))
            report.failures.append(f"{finding.detector}: {finding.text}")
    for waiver in waivers:
        count = sum(any(waiver.covers(f, pattern) for pattern in waiver.where) for f in findings if not f.planted)
        impact = next((f.impact for f in findings if f.detector == waiver.detector), "-")
        report.rows.append((waiver.detector, impact, str(count), f"waived: {escape(waiver.reason)}"))
        report.failures += [
            f"the waiver of {waiver.detector} for {pattern} matches nothing: take it out of docs/audit.toml"
            for pattern in waiver.where
            if (waiver, pattern) not in used
        ]
    caught = {(f.detector, f.where) for f in findings if f.planted}
    for detector, where in planted:
        state = "found" if (detector, where) in caught else "[red]missed[/]"
        report.rows.append((detector, "planted", where, state))
        if (detector, where) not in caught:
            report.failures.append(f"the planted bug {detector} in {where} was not found: the audit is blind")
    return report


def coverage(expected: set[tuple[str, str]], seen: set[tuple[str, str]]) -> Report:
    """Slither must have analysed exactly the contracts that the sources define, and some."""
    report = Report("contracts analysed", ("of the sources", "by Slither"), [(str(len(expected)), str(len(seen)))])
    if not expected:
        report.failures.append("the sources define no contract")
    report.failures += [f"{name} in {file} was not analysed" for file, name in sorted(expected - seen)]
    report.failures += [f"{name} in {file} was analysed, but is not in the sources" for file, name in seen - expected]
    return report


# --------------------------------------------------------------------------------------------- roles, sizes and solhint


def asks_for_roles(contract: Any) -> set[str]:
    """Functions of a contract, inherited ones too, that ask the AccessManager who may call."""

    def asks(function: Any) -> bool:
        reached = {getattr(call, "function", call) for call in function.all_internal_calls()}
        return any(getattr(each, "name", "") == "_checkCanCall" for each in reached)

    return {f.name for f in contract.functions_entry_points if f.visibility in {"public", "external"} and asks(f)}


def roles(asking: Mapping[str, set[str]], table: Mapping[str, Mapping[str, int]], deployed: Iterable[str]) -> Report:
    """Each function that asks for a role has one in the plan, and the plan names no other.

    A contract that no deployment has yet is listed without failing: it has no roles that could be wrong.
    """
    report = Report("roles", ("contract", "function", "role"))
    deployed = set(deployed)
    for contract in sorted({*asking, *table}):
        planned, found = table.get(contract, {}), asking.get(contract, set())
        for function in sorted({*planned, *found}):
            if contract not in deployed and contract not in table:
                report.rows.append((contract, function, "not deployed yet"))
            elif function not in planned:
                report.rows.append((contract, function, "[red]none[/]"))
                report.failures.append(f"{contract}.{function} asks for a role and scripts/deploy/plan.py gives none")
            elif function not in found:
                report.rows.append((contract, function, "[red]never asked for[/]"))
                report.failures.append(f"{contract}.{function} is in scripts/deploy/plan.py and asks for no role")
            else:
                report.rows.append((contract, function, ROLE_NAMES[planned[function]]))
    return report


def sizes(names: Iterable[str]) -> Report:
    """Bytes of deployed code of the compiled contracts, which must be those of the sources."""
    report = Report("sizes", ("contract", "bytes", "left"))
    for name in sorted(names):
        try:
            size = len(export_abi.artifact(name)["deployedBytecode"]) // 2
        except export_abi.ExportError as error:
            report.failures.append(str(error))
            continue
        report.rows.append((name, f"{size:,}", f"{CODE_LIMIT - size:,}"))
        if size >= CODE_LIMIT:
            report.failures.append(f"{name} has {size:,} bytes of code, the limit is {CODE_LIMIT:,}")
    return report


def solhint() -> Report:
    command = ["npx", "--no-install", "solhint", "--max-warnings", "0", "contracts/**/*.sol"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    state = f"ended with {done.returncode}"
    failures = [f"solhint {state}:\n{(done.stdout + done.stderr).strip()}"] if done.returncode else []
    return Report("solhint", ("files", "result"), [("contracts/**/*.sol", state)], failures)


def audit() -> list[Report]:
    """Everything, as one report a part. Raises AuditError."""
    waivers, planted = read_waivers(WAIVERS)
    slither, unread = analysed()
    contracts = [contract for contract in slither.contracts if is_ours(file_of(contract))]
    seen = {(str(file_of(contract).relative_to(ROOT)), contract.name) for contract in contracts}
    raw = [result for results in slither.run_detectors() for result in results if result["impact"] in IMPACTS]
    findings = [finding for finding in map(from_slither, raw) if finding]
    findings += forbidden(contracts) + unread.found
    own = [c for c in contracts if CONTRACTS in file_of(c).parents and not c.is_interface and not c.is_abstract]
    asking = {contract.name: asks for contract in own if (asks := asks_for_roles(contract))}
    code = {contract.name for contract in own} | set(export_abi.CONTRACTS)
    return [
        coverage(defined_in(sources()), seen),
        judge(findings, waivers, planted),
        roles(asking, RESTRICTED, export_abi.CONTRACTS),
        sizes(code),
        solhint(),
    ]


def show(console: Console, reports: Iterable[Report]) -> int:
    """Print the parts; returns how many failures they have."""
    failures = []
    for report in reports:
        table = Table(*report.columns, title=report.title, title_justify="left", title_style="bold")
        for row in report.rows:
            table.add_row(*row)
        console.print(table)
        failures += report.failures
    for failure in failures:
        console.print(f"FAILED {failure}", markup=False, style="red")
    console.print(f"audit: {len(failures)} findings" if failures else "audit: nothing that is not waived with a reason")
    return len(failures)


def main() -> int:
    try:
        return 1 if show(Console(width=WIDTH), audit()) else 0
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
