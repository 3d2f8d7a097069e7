"""Keys for deployment: development keys on chain 31337 only, an encrypted keystore file everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from getpass import getpass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from scripts.deploy.plan import DEVELOPMENT_CHAIN, TRP, People

MNEMONIC = "test test test test test test test test test test test junk"
"""Foundry's public development phrase: its keys are known to everybody."""

Account.enable_unaudited_hdwallet_features()

DEV_ROLES = ("deployer", "publisher", "moderator", "guardian", "founder", "founder", "voter", "voter", "voter")
"""Which account of the development phrase plays which role, by index."""

DEV_VOTER_TOKENS = 10_000_000 * TRP
"""What each development voter gets of the treasury's part: 2.5% of the supply, so two of them reach the quorum."""


class KeyRefused(Exception):
    """A key can't be used on this chain, or is not there; the text says what to do."""


def dev_account(index: int) -> LocalAccount:
    """Account `index` of the development phrase."""
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


def dev_addresses(count: int = 20) -> list[str]:
    return [dev_account(index).address for index in range(count)]


def dev_people() -> People:
    """The people of the development chain."""
    by_role: dict[str, list[str]] = {}
    for index, role in enumerate(DEV_ROLES):
        by_role.setdefault(role, []).append(dev_account(index).address)
    return People(
        publisher=by_role["publisher"][0],
        moderator=by_role["moderator"][0],
        guardian=by_role["guardian"][0],
        founders=tuple(by_role["founder"]),
        voters=dict.fromkeys(by_role["voter"], DEV_VOTER_TOKENS),
    )


def refuse_dev_addresses(chain_id: int, addresses: Iterable[str]) -> None:
    """Raise KeyRefused if a development account is to play a role on a chain that isn't the development chain."""
    if chain_id == DEVELOPMENT_CHAIN:
        return
    known = set(dev_addresses())
    if used := sorted(set(addresses) & known):
        raise KeyRefused(
            f"{', '.join(used)} is a development account, whose key everybody knows; it may play a role on chain "
            f"{DEVELOPMENT_CHAIN} only, and this is chain {chain_id}"
        )


def deployer(chain_id: int, environment: Mapping[str, str], ask: Callable[[str], str] = getpass) -> LocalAccount:
    """The key that pays for a deployment, and holds no role after it.

    On the development chain it is the phrase's first account. Elsewhere it is read from the encrypted file named by
    TROUPE_KEYSTORE with the password in the file named by TROUPE_KEYSTORE_PASSWORD_FILE, or the one that `ask` is told.
    Raises KeyRefused.
    """
    if chain_id == DEVELOPMENT_CHAIN:
        return dev_account(0)
    keystore, password_file = environment.get("TROUPE_KEYSTORE"), environment.get("TROUPE_KEYSTORE_PASSWORD_FILE")
    if not keystore:
        raise KeyRefused(
            f"chain {chain_id} is not the development chain ({DEVELOPMENT_CHAIN}), so development keys are refused: "
            "set TROUPE_KEYSTORE to an encrypted key file, and TROUPE_KEYSTORE_PASSWORD_FILE to a file with its "
            "password unless you want to be asked for it"
        )
    try:
        encrypted = json.loads(Path(keystore).read_text())
        password = Path(password_file).read_text().rstrip("\n") if password_file else ask(f"password of {keystore}: ")
        account: LocalAccount = Account.from_key(Account.decrypt(encrypted, password))
    except OSError as error:
        raise KeyRefused(f"can't read {error.filename}: {error.strerror}") from None
    except EOFError:
        raise KeyRefused("nobody is there to be asked for a password: set TROUPE_KEYSTORE_PASSWORD_FILE") from None
    except (ValueError, KeyError, TypeError):
        raise KeyRefused(f"{keystore} is not a key file that this password opens") from None
    refuse_dev_addresses(chain_id, [account.address])
    return account
