"""The operator's key: from a keystore, or in the open on the development chain alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account

from backend.sender.keys import KeyRefused, OperatorKey, load

SECRET = "0x" + "a1" * 32
ADDRESS = Account.from_key(SECRET).address


@pytest.fixture
def keystore(tmp_path: Path) -> tuple[Path, Path]:
    encrypted, password = tmp_path / "key.json", tmp_path / "password"
    encrypted.write_text(json.dumps(Account.encrypt(SECRET, "open sesame", kdf="pbkdf2", iterations=1_000)))
    password.write_text("open sesame\n")
    return encrypted, password


def test_a_keystore_opens_with_its_password_on_any_chain(keystore: tuple[Path, Path]) -> None:
    assert load(chain_id=1, keystore=keystore[0], password_file=keystore[1]).address == ADDRESS


def test_a_key_in_the_open_is_for_the_development_chain_alone() -> None:
    assert load(chain_id=31337, key=SECRET).address == ADDRESS
    with pytest.raises(KeyRefused, match="development chain 31337"):
        load(chain_id=1, key=SECRET)


def test_what_does_not_open_says_what_to_do_and_shows_nothing(keystore: tuple[Path, Path], tmp_path: Path) -> None:
    encrypted, password = keystore
    password.write_text("wrong")
    with pytest.raises(KeyRefused, match="does not open with the password"):
        load(chain_id=1, keystore=encrypted, password_file=password)
    with pytest.raises(KeyRefused, match="can't be read"):
        load(chain_id=1, keystore=tmp_path / "none", password_file=password)
    encrypted.write_text("no json")
    with pytest.raises(KeyRefused, match="does not open"):
        load(chain_id=1, keystore=encrypted, password_file=password)
    with pytest.raises(KeyRefused, match="TROUPE_OPERATOR_KEYSTORE"):
        load(chain_id=1)
    with pytest.raises(KeyRefused, match="32 bytes of hex") as refused:
        load(chain_id=31337, key="0xabcdef")
    assert "abcdef" not in str(refused.value)


def test_a_key_shows_its_address_alone_and_signs_the_same_bytes_again() -> None:
    key = OperatorKey(Account.from_key(SECRET), 31337)
    assert repr(key) == f"OperatorKey({ADDRESS}, chain 31337)"
    once, again = (
        key.sign(nonce=3, to=b"\x01" * 20, value=1, data=b"", gas=21_000, max_fee=10, priority=1) for _ in range(2)
    )
    assert once == again
    assert Account.recover_transaction(once.raw) == ADDRESS
