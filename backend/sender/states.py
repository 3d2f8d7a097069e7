"""The one table of what can happen to an intent of the operator. Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where an intent stands."""

    QUEUED = "queued"
    """Written together with what caused it; no nonce yet."""
    SIGNED = "signed"
    """Nonce taken, signed bytes stored; perhaps sent, not acknowledged yet."""
    BROADCAST = "broadcast"
    """A node has taken the bytes."""
    MINED = "mined"
    """A receipt is there; a reorganisation may still undo it."""
    FINAL = "final"
    """Succeeded in a final block, or found done on chain before it was signed."""
    REPLACED = "replaced"
    """A foreign transaction used up its nonce in a final block: it can't happen any more."""
    FAILED = "failed"
    """Reverted in a final block, or refused before it took a nonce."""
    EXPIRED = "expired"
    """Its time ran out before it took a nonce."""


class Event(StrEnum):
    """What happens to an intent."""

    FOUND_DONE = "found done"
    REFUSE = "refuse"
    EXPIRE = "expire"
    SIGN = "sign"
    SEND = "send"
    BUMP = "bump"
    MINE = "mine"
    REORGANISE = "reorganise"
    FINALISE = "finalise"
    REVERT = "revert"
    SUPERSEDE = "supersede"


TERMINAL = frozenset({State.FINAL, State.REPLACED, State.FAILED, State.EXPIRED})

IN_FLIGHT = frozenset({State.SIGNED, State.BROADCAST, State.MINED})
"""States that hold a nonce which the chain has not finally used."""

TRANSITIONS = MappingProxyType(
    {
        State.QUEUED: {
            Event.SIGN: State.SIGNED,
            Event.FOUND_DONE: State.FINAL,
            Event.REFUSE: State.FAILED,
            Event.EXPIRE: State.EXPIRED,
        },
        State.SIGNED: {  # killed after sending and before the acknowledgement, it may be mined already
            Event.SEND: State.BROADCAST,
            Event.BUMP: State.SIGNED,
            Event.MINE: State.MINED,
            Event.SUPERSEDE: State.REPLACED,
        },
        State.BROADCAST: {
            Event.BUMP: State.SIGNED,
            Event.MINE: State.MINED,
            Event.SUPERSEDE: State.REPLACED,
        },
        State.MINED: {
            Event.MINE: State.MINED,  # the same bytes, or older ones of the same nonce, in another block
            Event.FINALISE: State.FINAL,
            Event.REVERT: State.FAILED,
            Event.REORGANISE: State.BROADCAST,
        },
        # A development chain that was killed comes back behind its own final block: what was final is sent again.
        State.FINAL: {Event.REORGANISE: State.BROADCAST},
        State.FAILED: {Event.REORGANISE: State.BROADCAST},
        State.REPLACED: {Event.REORGANISE: State.BROADCAST},
        State.EXPIRED: {},
    }
)


class ForbiddenTransition(Exception):
    """An event that can't happen in this state: a bug, never an outside condition."""


def after(state: State, event: Event) -> State:
    """The state that follows. Raises ForbiddenTransition."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ForbiddenTransition(f"'{event}' can't happen to an intent that is {state}") from None
