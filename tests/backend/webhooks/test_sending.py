"""Deliveries: signed, in order, at least once, tried again, given up with a reason, and never into our own network."""

from __future__ import annotations

import base64
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import select
from standardwebhooks import WebhookVerificationError

from backend.models.webhooks import WebhookEndpoint
from backend.telemetry import metrics
from backend.webhooks import delivery
from backend.webhooks.delivery import LEASE, MAX_FAILURES, Sender, delay_s
from backend.webhooks.transport import RefusedUrl, Transport, Unsent, check_url, is_public
from tests.backend.conftest import Client
from tests.backend.webhooks.conftest import Hooks, Receiver

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.feature("Q6", via="http")
def test_deliveries_are_signed_as_standard_webhooks_says(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    hooks.mirror.pay(7, 1)
    hooks.run()
    (got,) = receiver.got
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-timestamp"] == str(int(hooks.clock().timestamp()))
    assert got.verify(made["secret"]) == got.body
    got.text = got.text.replace('"amount":"1"', '"amount":"2"')
    with pytest.raises(WebhookVerificationError):
        got.verify(made["secret"])


def test_the_secret_is_shown_once_and_kept_sealed(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    shown = hooks.get(f"/{made['id']}")
    assert "secret" not in shown
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    with hooks.sender.sessions() as session:
        row = session.scalars(select(WebhookEndpoint)).one()
    stored = bytes(row.url) + bytes(row.secret)
    assert made["secret"].encode() not in stored
    assert receiver.url.encode() not in stored


def test_a_rotated_secret_signs_beside_the_old_one_until_the_overlap_is_over(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    path = f"/{made['id']}"
    new = hooks.post(f"{path}/rotate-secret", 200, overlap_hours=2)
    assert new["secret"] != made["secret"]
    hooks.mirror.pay(7, 1)
    hooks.run()
    for secret in (made["secret"], new["secret"]):
        receiver.got[0].verify(secret)
    hooks.later(hours=2)
    hooks.mirror.pay(7, 2)
    hooks.run()
    receiver.got[1].verify(new["secret"])
    with pytest.raises(WebhookVerificationError):
        receiver.got[1].verify(made["secret"])
    assert hooks.get(path)["old_secret_until"] is None
    at_once = hooks.post(f"{path}/rotate-secret", 200, overlap_hours=0)
    hooks.mirror.pay(7, 3)
    hooks.run()
    receiver.got[2].verify(at_once["secret"])
    with pytest.raises(WebhookVerificationError):
        receiver.got[2].verify(new["secret"])


@pytest.mark.feature("Q6", via="http")
def test_what_fails_is_tried_again_later_in_order_and_with_the_same_id(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    other = hooks.create(receiver.url + "/other")
    for amount in (1, 2):
        hooks.mirror.pay(7, amount)
    hooks.tell()
    receiver.answers = [500, 204, 204]
    hooks.send()
    first = [each for each in receiver.got if each.path == "/hook"]
    others = [each for each in receiver.got if each.path == "/hook/other"]
    failed, fine = (first, others) if len(first) == 1 else (others, first)
    assert (len(failed), len(fine)) == (1, 2), "one endpoint's failure does not keep the other waiting"
    broken = made if failed is first else other
    shown = hooks.get(f"/{broken['id']}")
    assert (shown["failures"], shown["waiting"], shown["state"]) == (1, 2, "active")
    assert hooks.send() == 0, "not before its time"
    hooks.later(seconds=5)
    assert hooks.send() == 2
    again = [each for each in receiver.got if each.path == failed[0].path]
    assert [each.body["data"]["amount"] for each in again] == ["1", "1", "2"]
    assert again[0].id == again[1].id
    assert again[0].headers["webhook-timestamp"] != again[1].headers["webhook-timestamp"]
    log = hooks.get(f"/{broken['id']}/deliveries/{again[0].id}")
    assert [attempt["status"] for attempt in log["log"]] == [204, 500]
    assert (log["state"], log["attempts"], log["body"]) == ("delivered", 2, again[0].text)
    assert hooks.get(f"/{broken['id']}")["failures"] == 0


@pytest.mark.feature("Q2", via="http")
def test_metrics_tell_the_attempts_and_what_waits(hooks: Hooks, receiver: Receiver) -> None:
    metrics.webhook_attempts.take()  # of the tests before
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.tell()

    def told(name: str) -> float:
        lines = hooks.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    assert told('troupe_webhook_deliveries{state="waiting"}') == 1
    assert told("troupe_webhook_oldest_seconds") > 0
    receiver.answers = [500, 204]
    hooks.send()
    hooks.later(seconds=5)
    hooks.send()
    assert told('troupe_webhook_attempts_total{outcome="refused"}') == 1
    assert told('troupe_webhook_attempts_total{outcome="taken"}') == 1
    assert told('troupe_webhook_deliveries{state="waiting"}') == 0
    assert told('troupe_webhook_deliveries{state="delivered"}') == 1
    assert told("troupe_webhook_oldest_seconds") == told("troupe_webhooks_disabled") == 0


def test_delays_grow_threefold_to_six_hours_and_vary_by_a_fifth() -> None:
    assert [delay_s(n, 0.5) for n in (1, 2, 3, 8, 9, 50)] == [5, 15, 45, 10_935, 21_600, 21_600]
    assert delay_s(1, 0.0) == pytest.approx(4)
    assert delay_s(1, 1.0) == pytest.approx(6)
    assert 20 * 3600 < sum(delay_s(n, 0.5) for n in range(1, MAX_FAILURES)) < 26 * 3600


@pytest.mark.feature("Q6", via="http")
def test_an_endpoint_that_keeps_failing_is_disabled_with_the_reason_and_nothing_is_lost(
    hooks: Hooks, receiver: Receiver
) -> None:
    made = hooks.create(receiver.url)
    path = f"/{made['id']}"
    hooks.mirror.pay(7, 1)
    hooks.tell()
    receiver.answers = [503] * MAX_FAILURES
    for _ in range(MAX_FAILURES):
        assert hooks.send() == 1
        hooks.later(hours=7)
    assert hooks.send() == 0
    shown = hooks.get(path)
    assert (shown["state"], shown["waiting"], shown["next_attempt_at"]) == ("disabled", 1, None)
    assert shown["disabled_reason"] == "12 attempts in a row failed, the last one ended with 503"
    assert hooks.post(f"{path}/test", 409)["code"] == "webhook_disabled"
    hooks.mirror.pay(7, 2)
    assert hooks.run() == 0
    answer = hooks.client.patch(f"/v1/webhooks{path}", json={"enabled": True})
    assert (answer.json()["state"], answer.json()["waiting"]) == ("active", 2)
    hooks.send()
    assert [each.body["data"]["amount"] for each in receiver.got[MAX_FAILURES:]] == ["1", "2"]


def test_a_receiver_that_says_gone_is_disabled_at_once(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    receiver.answers = [410]
    hooks.run()
    assert hooks.get(f"/{made['id']}")["disabled_reason"] == "the receiver answered 410 Gone"


def test_paused_by_its_owner_it_keeps_or_drops_what_waits(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    url = f"/v1/webhooks/{made['id']}"
    assert hooks.client.patch(url, json={"enabled": False}).json()["disabled_reason"] == "you paused it"
    hooks.mirror.pay(7, 1)
    assert hooks.run() == 0
    back = hooks.client.patch(url, json={"enabled": True, "drop_waiting": True}).json()
    assert (back["state"], back["waiting"]) == ("active", 0)
    assert hooks.run() == 0
    (dropped,) = hooks.get(f"/{made['id']}/deliveries")["items"]
    assert (dropped["state"], dropped["attempts"]) == ("dropped", 0)
    hooks.post(f"/{made['id']}/deliveries/{dropped['id']}/redeliver")
    assert hooks.send() == 1
    assert receiver.ids == [dropped["id"]]


def test_a_test_and_a_redelivery_go_out(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    path = f"/{made['id']}"
    queued = hooks.post(f"{path}/test")["id"]
    hooks.send()
    assert (receiver.ids, receiver.types) == ([queued], ["webhook.test"])
    hooks.post(f"{path}/deliveries/{queued}/redeliver")
    hooks.send()
    assert receiver.ids == [queued, queued]
    for nobody in ("msg_" + "0" * 32, "msg_x", "x"):
        assert (
            hooks.client.get(f"/v1/webhooks{path}/deliveries/{nobody}").json()["code"] == "webhook_delivery_not_found"
        )


def test_the_log_is_paged_newest_first(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    for amount in range(5):
        hooks.mirror.pay(7, amount + 1)
    receiver.answers = [204, 204, 500]
    hooks.run()
    path = f"/{made['id']}/deliveries"
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = hooks.get(path, limit=2, **cursor)
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [(row["state"], row["last_status"]) for row in seen] == [
        ("waiting", None),
        ("waiting", None),
        ("waiting", 500),
        ("delivered", 204),
        ("delivered", 204),
    ]
    assert [row["id"] for row in hooks.get(path, state="delivered")["items"]] == receiver.ids[1::-1]


def test_another_persons_endpoint_is_not_found(
    hooks: Hooks, receiver: Receiver, client: Client, bob: LocalAccount
) -> None:
    made = hooks.create(receiver.url)
    thief = client.as_(bob)
    url = f"/v1/webhooks/{made['id']}"
    queued = hooks.post(f"/{made['id']}/test")["id"]
    attempts = [
        thief.get(url),
        thief.patch(url, json={"enabled": False}),
        thief.delete(url),
        thief.post(f"{url}/rotate-secret", json={}),
        thief.post(f"{url}/test"),
        thief.get(f"{url}/deliveries"),
        thief.get(f"{url}/deliveries/{queued}"),
        thief.post(f"{url}/deliveries/{queued}/redeliver"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in attempts] == [(404, "webhook_not_found")] * 8
    assert thief.get("/v1/webhooks").json() == {"items": []}
    assert client.get("/v1/webhooks").status_code == 401


def test_a_person_has_ten_endpoints_and_a_deleted_one_makes_room(hooks: Hooks, receiver: Receiver) -> None:
    ids = [hooks.create(receiver.url)["id"] for _ in range(10)]
    refused = hooks.client.post("/v1/webhooks", json={"url": receiver.url, "types": ["payment.received"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_limit")
    assert hooks.client.delete(f"/v1/webhooks/{ids[0]}").status_code == 204
    hooks.create(receiver.url)


def test_the_endpoints_of_an_erased_person_go_without_a_word(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    with hooks.sender.sessions() as session:
        person = session.scalars(select(WebhookEndpoint.account_id)).one()
    hooks.mirror.pay(7, 1)
    hooks.sender.vault.destroy(person)
    assert hooks.run() == 0
    with hooks.sender.sessions() as session:
        assert session.scalars(select(WebhookEndpoint.id)).all() == []


# killed


class Killed(BaseException):
    """As SIGKILL: nothing that would catch an exception catches it."""


@pytest.mark.parametrize(("point", "copies"), [("claimed", 1), ("sent", 2)])
def test_v6_a_sender_that_dies_loses_nothing_and_the_next_sends_the_same_id(
    hooks: Hooks, receiver: Receiver, point: str, copies: int
) -> None:
    hooks.create(receiver.url)
    for amount in (1, 2):
        hooks.mirror.pay(7, amount)
    hooks.tell()

    def die(here: str) -> None:
        if here == point:
            raise Killed

    hooks.sender.probe = die
    with pytest.raises(Killed):
        hooks.sender.step()
    hooks.sender.probe = lambda here: None
    assert hooks.send() == 0, "the lease is the dead one's"
    hooks.later(seconds=LEASE.total_seconds())
    hooks.send()
    assert [each.body["data"]["amount"] for each in receiver.got] == ["1"] * copies + ["2"]
    assert len(set(receiver.ids)) == 2


def test_v6_a_sender_that_was_thought_dead_changes_nothing_when_it_comes_back(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.tell()
    slow = hooks.sender.claim()
    assert slow is not None
    hooks.later(seconds=LEASE.total_seconds())
    assert hooks.send() == 1
    late = hooks.sender.attempt(slow)
    assert not hooks.sender.settle(slow, late)


def test_v6_many_senders_at_once_send_each_event_once_and_in_order(hooks: Hooks, receiver: Receiver) -> None:
    for number in range(4):
        hooks.create(f"{receiver.url}/{number}")
    for amount in range(1, 6):
        hooks.mirror.pay(7, amount)
    hooks.tell()
    made = sum(Sender(**vars(hooks.sender)).run(seconds=30, threads=4) for _ in range(2))
    assert made == 20
    for number in range(4):
        mine = [each.body["data"]["amount"] for each in receiver.got if each.path.endswith(f"/{number}")]
        assert mine == ["1", "2", "3", "4", "5"]


KILLED_WORKER = """
import os, signal, sys
from backend.webhooks import tasks
made = tasks.sender()
def die(point):
    if point == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
made.probe = die
made.step()
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["claimed", "sent"])
def test_v6_kill_9_of_a_sending_process_loses_nothing(
    hooks: Hooks, receiver: Receiver, environment: dict[str, str], point: str
) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.tell()
    env = os.environ | environment | {"TROUPE_WEBHOOK_LOOPBACK": "true"}
    done = subprocess.run([sys.executable, "-c", KILLED_WORKER, point], cwd=ROOT, env=env, timeout=60)
    assert done.returncode == -signal.SIGKILL
    hooks.later(seconds=2 * LEASE.total_seconds())
    assert hooks.send() == 1
    assert len(receiver.got) == {"claimed": 1, "sent": 2}[point]
    assert len(set(receiver.ids)) == 1


# where it goes

PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1"),
    *(
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ),
    *("2002:a00:1::", "2001:db8::1", "64:ff9b:1::1", "100::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_our_own_are_refused_in_any_dress(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(RefusedUrl, match="no public address"):
        check_url(f"https://{host}/", loopback=False)
    with pytest.raises(Unsent) as refused:
        Transport(resolve=lambda host, port: [address]).post("https://rebound.example/", {}, b"")
    assert refused.value.code == "address"


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


UNFIT = [
    *("http://receiver.example/", "ftp://receiver.example/", "https://", "https:///x", "receiver.example", "//x"),
    *("https://user:secret@receiver.example/", "https://receiver.example/#part", "https://receiver.example:0/"),
    *("https://receiver.example:99999/", "https://[::1", "https://receiver.example/a b", "https://r\u00e9.example/"),
    *("https://receiver.example\\@127.0.0.1/", "https://[fe80::1%25eth0]/", "javascript:alert(1)", "https://x\n/"),
    "http://127.0.0.1/",
]


@pytest.mark.parametrize("url", UNFIT)
def test_an_address_that_nothing_is_sent_to_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(RefusedUrl):
        check_url(url, loopback=False)


def test_v15_unfit_addresses_are_refused_when_they_are_registered(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    for url in UNFIT[:-1]:  # here this machine is let in
        answers = [
            hooks.client.post("/v1/webhooks", json={"url": url, "types": ["payment.received"]}),
            hooks.client.patch(f"/v1/webhooks/{made['id']}", json={"url": url}),
        ]
        assert [(each.status_code, each.json()["code"]) for each in answers] == [(422, "webhook_url")] * 2, url


def test_one_private_address_among_public_ones_refuses_the_name(receiver: Receiver) -> None:
    """Otherwise the second address is reached when the first does not answer."""
    with pytest.raises(Unsent) as refused:
        Transport(resolve=lambda host, port: ["1.1.1.1", "127.0.0.1"]).post("https://two.example/", {}, b"")
    assert refused.value.code == "address"


def test_a_name_is_resolved_once_and_that_address_is_connected_to(receiver: Receiver) -> None:
    """DNS rebinding: a public address for the check, this machine for the connection."""
    answers = iter([["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    port = receiver.url.split(":")[2].partition("/")[0]
    transport = Transport(loopback=True, resolve=resolve)
    assert transport.post(f"http://localhost:{port}/x", {"webhook-id": "msg_1"}, b"{}") == 204
    assert asked == ["localhost"]


def test_http_goes_to_this_machine_alone_even_where_that_is_allowed() -> None:
    with pytest.raises(Unsent) as refused:
        Transport(loopback=True, resolve=lambda host, port: ["1.1.1.1"]).post("http://localhost/", {}, b"")
    assert refused.value.code == "address"


def test_redirects_are_failures_and_not_followed(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    receiver.answers = [302]
    hooks.run()
    assert len(receiver.got) == 1
    (row,) = hooks.get(f"/{made['id']}/deliveries")["items"]
    assert (row["state"], row["last_status"]) == ("waiting", 302)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def serve(listener: socket.socket, parts: Iterator[bytes], done: threading.Event) -> threading.Thread:
    """Answer one connection with these parts, as long as somebody reads."""

    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                for part in parts:
                    connection.sendall(part)
                    if done.wait(0.01):
                        return
            except OSError:
                return

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def drip() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nx: "
    while True:
        yield b"a"


def flood() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n"
    while True:
        yield b"x" * 100_000


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (drip, "timeout"),
        (flood, 200),
        (lambda: iter([b"\0\0 no HTTP\r\n\r\n"]), "protocol"),
        (lambda: iter([]), "protocol"),
    ],
    ids=["drips", "floods", "no HTTP", "hangs up"],
)
def test_a_hostile_receiver_costs_no_more_than_the_deadline(listener: socket.socket, parts: Any, expected: Any) -> None:
    done = threading.Event()
    thread = serve(listener, parts(), done)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    began = time.monotonic()
    try:
        got: Any = Transport(loopback=True, timeout_s=1.0).post(url, {}, b"{}")
    except Unsent as error:
        got = error.code
    finally:
        done.set()
        thread.join()
    assert got == expected
    assert time.monotonic() - began < 30


def test_what_is_not_there_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    transport = Transport(loopback=True)
    for url, code in ((f"http://127.0.0.1:{port}/", "connect"), ("https://nowhere.invalid/", "dns")):
        with pytest.raises(Unsent) as failed:
            transport.post(url, {}, b"")
        assert failed.value.code == code


def test_a_receiver_without_tls_is_no_https(receiver: Receiver) -> None:
    with pytest.raises(Unsent) as failed:
        Transport(loopback=True).post(receiver.url.replace("http:", "https:"), {}, b"")
    assert failed.value.code == "tls"


def test_the_lease_outlasts_an_attempt() -> None:
    assert timedelta(seconds=3 * Transport().timeout_s) < delivery.LEASE
