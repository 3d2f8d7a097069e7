"""What must be right before a process serves: the manifest's chain, its contracts on it, tables of this version.

`check(settings)` is asked by the API, the worker, beat and the command line; each ends with its sentence and status 1.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import psycopg
from eth_utils.crypto import keccak
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from backend.chain import ChainInfo, ManifestError
from backend.db import conninfo
from backend.migrations.upgrade import current, head
from backend.node import Node, NodeRefused, NodeUnreachable
from backend.rewards.terms import Terms
from backend.settings import Settings, SettingsError, load_settings
from backend.telemetry import logs as telemetry
from backend.vault.master_key import MasterKeyError
from backend.vault.vault import Vault
from indexer.errors import Fatal
from indexer.migrate import require_current

TIMEOUT_S = 5


class PreflightError(Exception):
    """The process must not start; the text is one sentence with the remedy."""


def check(settings: Settings) -> None:
    """Look at keys, manifest, chain and database. Raises PreflightError for the first thing that is wrong."""
    check_keys(settings)
    check_experiments(settings)
    chain = check_manifest(settings)
    check_chain(settings, chain)
    check_rewards(settings, chain)
    check_database(settings)


def check_keys(settings: Settings) -> None:
    """Raises PreflightError unless the master key is there, private and whole."""
    try:
        Vault.open(settings)
    except MasterKeyError as error:
        raise PreflightError(str(error)) from None


def check_experiments(settings: Settings) -> None:
    """Raises PreflightError unless the experiments that are to run can be read."""
    from backend.personalization.evaluation import experiments  # noqa: PLC0415 - numpy and scipy, for those who serve

    try:
        experiments.load(settings.experiments_file)
    except experiments.BadExperiments as error:
        raise PreflightError(f"TROUPE_EXPERIMENTS: {error}") from None


def check_manifest(settings: Settings) -> ChainInfo:
    """Raises PreflightError unless the manifest can be read and is of the configured chain."""
    try:
        chain = ChainInfo.load(settings.deployment)
    except ManifestError as error:
        raise PreflightError(str(error)) from None
    if chain.chain_id != settings.chain_id:
        raise PreflightError(
            f"TROUPE_CHAIN_ID is {settings.chain_id} and the manifest {settings.deployment} is of chain"
            f" {chain.chain_id}: correct the one that is wrong"
        )
    return chain


def check_chain(settings: Settings, chain: ChainInfo) -> None:
    """Raises PreflightError unless the node is on the manifest's chain and every contract has its code there."""
    with Node(settings.rpc_url, timeout_s=TIMEOUT_S) as node:
        try:
            found = node.chain_id()
            if found != chain.chain_id:
                raise PreflightError(
                    f"The node at {settings.rpc_url} is on chain {found} and the manifest {settings.deployment} is of"
                    f" chain {chain.chain_id}: set TROUPE_RPC_URL or TROUPE_DEPLOYMENT to the right one"
                )
            for name, contract in chain.manifest.contracts.items():
                code = bytes.fromhex(str(node.ask("eth_getCode", contract.address, "latest")).removeprefix("0x"))
                if not code:
                    raise PreflightError(
                        f"{name} is not deployed: there is no code at {contract.address} on chain {found}; deploy the"
                        f" contracts, or set TROUPE_DEPLOYMENT to the manifest of this chain"
                    )
                if contract.codeHash and keccak(code).hex() != contract.codeHash.removeprefix("0x").lower():
                    raise PreflightError(
                        f"The code at {contract.address} on chain {found} is not the {name} of the manifest"
                        f" {settings.deployment}: set TROUPE_DEPLOYMENT to the manifest of this chain"
                    )
        except (NodeUnreachable, NodeRefused, ValueError) as error:
            raise PreflightError(
                f"The node at {settings.rpc_url} does not answer ({error}): start it, or set TROUPE_RPC_URL"
            ) from None


def check_rewards(settings: Settings, chain: ChainInfo) -> None:
    """Raises PreflightError unless the manifest says when epochs begin and what a voice costs."""
    try:
        Terms.of(chain)
    except (LookupError, ValueError) as error:
        raise PreflightError(f"The manifest {settings.deployment} cannot be used for rewards: {error}") from None


def check_database(settings: Settings) -> None:
    """Raises PreflightError unless both schemas are of this version."""
    url = settings.database_url.get_secret_value()
    engine = create_engine(url, connect_args={"connect_timeout": TIMEOUT_S})
    try:
        with engine.connect() as connection:
            found, needed = current(connection), head()
        if found != needed:
            raise PreflightError(
                f"The database is at revision {found or 'none'} and this version needs {needed}: run `./troupe migrate`"
            )
        with psycopg.connect(conninfo(url), connect_timeout=TIMEOUT_S) as raw:
            require_current(raw)
    except (OperationalError, psycopg.OperationalError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise PreflightError(
            f"The database does not take the connection ({reason}): start it, or set TROUPE_DATABASE_URL"
        ) from None
    except Fatal as error:
        raise PreflightError(str(error)) from None
    finally:
        engine.dispose()


def settings_or_exit() -> Settings:
    """The environment's settings, checked, with logs by them; else one sentence on stderr and exit status 1."""
    telemetry.configure_logging(level="ERROR")  # what is wrong is said in one sentence, not told in lines before
    try:
        settings = load_settings()
        check(settings)
        telemetry.configure_logging(level=settings.log_level.upper())
    except (SettingsError, PreflightError) as error:
        _exit(str(error))
    return settings


def _exit(sentence: str) -> NoReturn:
    sys.stderr.write(f"troupe: {sentence}\n")
    raise SystemExit(1)
