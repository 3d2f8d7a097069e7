"""What can go wrong, in two kinds: what time may heal, and what only a person can."""

from __future__ import annotations


class IndexerError(Exception):
    """The root of this package's errors. The text says what happened and, where a person is needed, what to do."""


class Retryable(IndexerError):
    """The node or the network failed us, or the chain changed while it was read: the same step may succeed later.

    `after_s` is the wait that the node asked for (Retry-After), if it did.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class RangeTooLarge(Retryable):
    """The node will not answer for so many blocks or logs at once; it would for `blocks`, if it says so.

    `always`: for as many blocks of any other part of the chain too.
    """

    def __init__(self, message: str, *, blocks: int | None = None, always: bool = False) -> None:
        super().__init__(message)
        self.blocks = blocks
        self.always = always


class Fatal(IndexerError):
    """Going on would give a wrong mirror, or cannot work at all: the process ends with this sentence."""


class NodeFatal(Fatal):
    """A Fatal on the word of one node: where there are several, another may do better."""


class WrongChain(NodeFatal):
    """The node, the deployment manifest and the mirror do not speak of the same chain."""


class StaleMirror(Fatal):
    """The mirror was made for other ABIs or another deployment."""


class BelowFinality(NodeFatal):
    """The chain replaced a block that its network promised never to replace."""


class AbiMismatch(NodeFatal):
    """A contract's log, as a node sent it, does not have the form that its committed ABI gives to it."""
