"""The operator's sender as a running process makes it, from settings and the deployment manifest."""

from __future__ import annotations

import importlib
import os

from backend.chain import ChainInfo
from backend.deps import Core
from backend.node import Node
from backend.sender import faults
from backend.sender.keys import DEVELOPMENT_CHAIN_ID, OperatorKey, load
from backend.sender.policy import Finality, Kind
from backend.sender.sweeper import Sender
from backend.settings import Settings

KINDS = ("backend.rewards.publishing",)
"""Modules whose `kinds(chain)` says what their intents add; a package adds its line."""


def operator_key(settings: Settings) -> OperatorKey:
    """The key that the settings name. Raises KeyRefused when there is none or it does not open."""
    key = settings.operator_key
    return load(
        chain_id=settings.chain_id,
        keystore=settings.operator_keystore,
        password_file=settings.operator_password_file,
        key=None if key is None else key.get_secret_value(),
    )


def finality(chain: ChainInfo) -> Finality:
    """The network's finality; on the development chain even what was final may have to be sent again."""
    stated = chain.manifest.finality
    return Finality(stated.mode, stated.depth or 0, reopen=chain.chain_id == DEVELOPMENT_CHAIN_ID)


def kinds(chain: ChainInfo) -> dict[str, Kind]:
    """All kinds of intents by name."""
    found: dict[str, Kind] = {}
    for module in KINDS:
        found |= importlib.import_module(module).kinds(chain)
    return found


def make_sender(core: Core) -> Sender:
    """A sender for this installation's operator account. Raises KeyRefused, ManifestError."""
    settings = core.settings
    return Sender(
        engine=core.database.engine,
        node=Node(settings.rpc_url),
        key=operator_key(settings),
        finality=finality(core.chain),
        kinds=kinds(core.chain),
        now=core.clock,
        probe=faults.from_environment(os.environ, env=settings.env),
    )
