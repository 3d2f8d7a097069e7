"""The demo's driver talks to the stack that it is told of."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import demo.__main__ as driver


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, [], ("http://127.0.0.1:8000", "http://127.0.0.1:8545")),
        (
            {"TROUPE_API_URL": "http://127.0.0.1:1/", "TROUPE_RPC_URL": "http://127.0.0.1:2"},
            [],
            ("http://127.0.0.1:1", "http://127.0.0.1:2"),
        ),
        ({"TROUPE_API_URL": "http://127.0.0.1:1"}, ["--api", "http://127.0.0.1:3"], ("http://127.0.0.1:3", None)),
    ],
    ids=["usual", "said by `./troupe demo`", "said by hand"],
)
def test_the_driver_goes_where_troupe_demo_or_the_caller_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], options: list[str], expected: tuple[str, str | None]
) -> None:
    went: list[Any] = []
    for name in ("TROUPE_API_URL", "TROUPE_RPC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, url in environment.items():
        monkeypatch.setenv(name, url)
    monkeypatch.setattr(sys, "argv", ["demo", *options])
    monkeypatch.setattr(driver, "play", lambda api, rpc, *_: went.append((api, rpc)) or 0)
    assert driver.main() == 0
    [(api, rpc)] = went
    assert (api, rpc) == (expected[0], expected[1] or rpc)
