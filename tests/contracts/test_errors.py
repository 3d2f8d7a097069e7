"""Each custom error of ours is held by a test, and each test's error exists."""

import re
from pathlib import Path

HERE = Path(__file__).parent
CONTRACTS = HERE.parent.parent / "contracts"


def declared():
    """Errors of our interfaces and libraries, mocks left out."""
    sources = [*CONTRACTS.glob("*.sol"), *(CONTRACTS / "interfaces").glob("*.sol")]
    return {name for path in sources for name in re.findall(r"^\s*error (\w+)\(", path.read_text(), re.MULTILINE)}


def expected():
    """Errors that tests wait for, by their names in quotation marks."""
    tests = [path for path in HERE.glob("*.py") if path != Path(__file__)]
    return {name for path in tests for name in re.findall(r"""["']([A-Z]\w+)["']""", path.read_text())}


def test_each_custom_error_is_held_by_a_test():
    assert len(declared()) > 60
    assert declared() - expected() == set()


def test_each_expected_error_of_ours_exists():
    prefixes = (
        "Attestation|Character|Dispute|Item|MerkleSum|Revenue|Reward|Session|Standing|Store|"
        "Troupe(Governor|Mint|Treasury)|Work"
    )
    ours = re.compile(rf"^({prefixes})[A-Z]\w+$")
    known = declared() | {path.stem for path in CONTRACTS.rglob("*.sol")}
    events = {
        name
        for path in (CONTRACTS / "interfaces").glob("*.sol")
        for name in re.findall(r"^\s*event (\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert {name for name in expected() if ours.match(name)} - known - events == set()
