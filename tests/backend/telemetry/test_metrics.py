"""Metrics: all of them told to operators, labels bounded, and what is away said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from backend.app import create_app
from backend.settings import Settings
from backend.telemetry import metrics
from backend.worker import Counted
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from tests.backend.conftest import PUBLIC_URL, Client
from tests.backend.mirror import MirrorWriter
from tests.backend.system.test_system import with_node

pytestmark = pytest.mark.feature("Q2", via="http")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(troupe_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
Told = dict[str, tuple[str, tuple[str, ...]]]


def told_to_operators() -> Told:
    rows = ROW.findall(PAGE.read_text())
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def served(text: str) -> Told:
    """Name, kind and labels of each family of ours, a counter by the name of its samples."""
    found: Told = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("troupe_"):
            assert family.documentation
            names = {name for sample in family.samples for name in sample.labels} - {"le"}
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = (family.type, tuple(sorted(names)))
    return found


def test_every_metric_is_in_the_operators_table_and_no_other(
    settings: Settings, anvil: Anvil, clean_db: DatabaseUrls
) -> None:
    mirror = MirrorWriter(clean_db)
    mirror.block()
    mirror.close()
    for each in metrics.SHARED:
        each.add(*("x" for _ in each.labels))
    metrics.rate_limited_total.labels("read", "address").inc()  # a counter with labels shows them once it counted
    with Client(with_node(settings, anvil.url), base_url=PUBLIC_URL) as client:
        client.get("/nowhere")
        text = client.get("/metrics").text
    indexer = {name: row for name, row in told_to_operators().items() if name.startswith("troupe_indexer_")}
    expected = {name: (kind, tuple(sorted(labels))) for name, (kind, labels) in told_to_operators().items()}
    assert served(text) == {name: row for name, row in expected.items() if name not in indexer}


def test_the_indexers_metrics_are_in_the_table_too() -> None:
    from indexer.health import metrics as of_indexer  # noqa: PLC0415
    from indexer.sync import Progress  # noqa: PLC0415

    told = {n: (k, ()) for n, (k, _) in told_to_operators().items() if n.startswith("troupe_indexer_")}
    found = re.findall(r"^# TYPE (\w+) (\w+)", of_indexer(Progress(), 0.0), re.MULTILINE)
    assert {name: (kind, ()) for name, kind in found} == told


def test_strangers_words_make_no_new_series(app: FastAPI) -> None:
    def series() -> set[str]:
        text = client.get("/metrics").text
        return {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("troupe_http")}

    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        client.get("/a-first-path-that-is-none")
        client.get("/v1/works/1")
        client.request("PROPFIND", "/v1/works")
        client.request("PROPFIND", "/nowhere")
        client.get("/metrics")
        before = series()
        for number in range(5):
            client.get(f"/nothing/{number}")
            client.get(f"/v1/works/{number + 2}")
            client.request(f"STRANGE{number}", "/v1/works")
            client.request(f"STRANGE{number}", f"/nothing/{number}")
        assert series() == before


def test_a_node_method_of_nobody_is_other() -> None:
    from backend.node import _known  # noqa: PLC0415

    assert (_known("eth_call"), _known("evil_method")) == ("eth_call", "other")


def test_counts_of_all_processes_add_up_and_survive_one(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        for each in metrics.SHARED:
            each.take()
        metrics.tasks.add("sender.sweep", "succeeded")
        metrics.hand_on(redis)
        metrics.tasks.add("sender.sweep", "succeeded", amount=2)
        metrics.hand_on(redis)
        (family,) = [family for family in metrics.shared(redis) if family.name == "troupe_tasks"]
        assert [(sample.labels, sample.value) for sample in family.samples] == [
            ({"task": "sender.sweep", "outcome": "succeeded"}, 3.0)
        ]
    with pytest.raises(ValueError, match="has the labels"):
        metrics.tasks.add("one alone")
    assert Counted.abstract


def test_metrics_say_what_is_away_and_tell_the_rest(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    with Client(create_app(away), base_url=PUBLIC_URL) as client:
        text = client.get("/metrics").text
    assert 'troupe_up{part="database"} 1.0' in text
    assert 'troupe_up{part="redis"} 0.0' in text
    assert 'troupe_up{part="node"} 0.0' in text
    assert "troupe_outbox_intents" in text
    assert "troupe_redis_memory_bytes" not in text


def test_a_refusal_counts_by_its_code(client: Client) -> None:
    client.get("/v1/me")
    assert 'troupe_http_problems_total{code="sign_in_required"}' in client.get("/metrics").text
