"""What the operator is told and can do (Q2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from backend import worker
from backend.chain import ChainInfo
from backend.deps import Core
from backend.models.sender import SenderAccount
from backend.rewards import __main__ as rewards_command
from backend.sender import __main__ as command
from backend.sender.keys import KeyRefused, OperatorKey
from backend.sender.operator import finality, kinds, make_sender
from backend.settings import Settings
from tests.backend.sender.chain import transfers


@pytest.mark.usefixtures("environment")
def test_status_names_what_is_halted_and_what_waits_and_resume_ends_the_halt(
    engine: Engine, key: OperatorKey, capsys: pytest.CaptureFixture[str]
) -> None:
    transfers(engine, key)
    with Session(engine) as session, session.begin():
        session.add(
            SenderAccount(
                chain_id=31337,
                address=key.address_bytes,
                halted_code="nonce_taken",
                halted_detail="nonce 3 was used by a transaction that is not ours",
            )
        )
    assert command.main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "HALTED (nonce_taken) nonce 3 was used" in shown
    assert "transfer queued nonce -" in shown
    assert command.main(["resume", key.address]) == 0
    assert command.main(["resume", key.address]) == 1
    assert "is not halted" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        command.main(["resume", "0x12"])
    assert wrong.value.code == 2


@pytest.mark.usefixtures("environment")
def test_a_decision_about_a_root_that_was_not_rejected_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert rewards_command.main(["withdraw", "1", "0x" + "00" * 20]) == 1
    assert "no rejected root" in capsys.readouterr().err


def test_a_worker_makes_its_sender_from_settings_and_manifest(settings: Settings, manifest: Path) -> None:
    with pytest.raises(KeyRefused, match="no operator key"):
        make_sender(Core(settings))
    given = settings.model_copy(update={"operator_key": type(settings.database_url)("0x" + "a1" * 32)})
    sender = make_sender(Core(given))
    sender.node.close()
    assert sender.finality == finality(ChainInfo.load(manifest))
    assert sender.finality.reopen  # the development chain
    assert set(sender.kinds) == set(kinds(ChainInfo.load(manifest)))
    public = json.loads(manifest.read_text()) | {"chainId": 1, "finality": {"mode": "depth", "depth": 12}}
    manifest.write_text(json.dumps(public))
    assert finality(ChainInfo.load(manifest)).depth == 12
    assert not finality(ChainInfo.load(manifest)).reopen


def test_beat_wakes_the_sender_and_the_epochs_every_few_seconds() -> None:
    waking = {entry["task"]: entry["schedule"] for entry in worker.SCHEDULE.values()}
    assert waking["sender.sweep"] <= 5
    assert waking["rewards.tick"] <= 5
