"""Planning the move of a share: the new leaves, their published file, and the proof that the contract will ask for.

Pure. A holder gives its leaf, or part of it, to others; `plan` builds the node that takes its place, the tree file that
is pinned for it, and the split as it will be. The trees are those of backend.works.splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from eth_utils.address import is_checksum_address, to_checksum_address

from backend.rewards.merkle import MAX_PROOF_LENGTH, Node
from backend.works.splits import Leaf, Reassigned, Share, SplitTree, tree_file

MAX_RECIPIENTS = 3_000
"""Holders that one reassignment may name, so that its tree file is one raw block; a larger circle takes several."""


class CannotMove(ValueError):
    """The share can't be moved that way; the message says why."""


class Move(NamedTuple):
    """A planned reassignment: the leaf and its proof, the node and file that replace it, and the split afterwards."""

    leaf: Leaf
    path: int
    proof: list[Node]
    new_hash: bytes
    file: bytes
    digest: bytes
    shares: tuple[Share, ...]
    tree: SplitTree


def plan(tree: SplitTree, position: int, recipients: Iterable[Share]) -> Move:
    """Give a leaf of `tree`, or part of it, to others; what is not given stays with its holder as the first new leaf.

    Raises CannotMove when there is no known leaf, when a recipient's address or weight is none, when more is given than
    there is, when nothing would change, or when a proof of the new leaves would be longer than the contract accepts.
    """
    leaf = next((leaf for leaf in tree.leaves() if leaf.position == position), None)
    if leaf is None or leaf.account is None:
        raise CannotMove(f"there is no known share at position {position}")
    given = checked(tuple(recipients))
    rest = leaf.weight - sum(share.weight for share in given)
    if rest < 0:
        raise CannotMove(f"{leaf.weight - rest} would be given of a share that weighs {leaf.weight}")
    shares = (Share(leaf.account, rest), *given) if rest else given
    if all(share.account == leaf.account for share in shares):
        raise CannotMove("the share would stay with its holder; name somebody else")
    below = SplitTree.of(shares)
    depth = position.bit_length() - 1
    if depth + max(one.position for one in below.leaves()).bit_length() - 1 > MAX_PROOF_LENGTH:
        raise CannotMove(f"the proof of a share there would be longer than {MAX_PROOF_LENGTH} nodes")
    file = tree_file(shares)
    digest = sha256(file).digest()
    proof, after = tree.proof(position), tree.copy()
    after.replace(Reassigned(position, leaf.account, leaf.weight, below.root.hash, digest, tuple(proof)), below)
    return Move(leaf, position ^ (1 << depth), proof, below.root.hash, file, digest, shares, after)


def checked(shares: Sequence[Share]) -> tuple[Share, ...]:
    """The shares with addresses in EIP-55. Raises CannotMove for none, too many, a bad address or a weight below 1."""
    if not 0 < len(shares) <= MAX_RECIPIENTS:
        raise CannotMove(f"name 1 to {MAX_RECIPIENTS} new holders, not {len(shares)}")
    for share in shares:
        if share.weight < 1:
            raise CannotMove(f"{share.account} would hold {share.weight}; a share weighs at least 1")
    return tuple(Share(checksummed(share.account), share.weight) for share in shares)


def checksummed(account: str) -> str:
    """An address in EIP-55. Raises CannotMove when it is none, or when its capitals say that it was mistyped."""
    try:
        address = str(to_checksum_address(account))
    except (ValueError, TypeError) as error:
        raise CannotMove(f"{account!r} is not an address") from error
    digits = account.removeprefix("0x")
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(account):
        raise CannotMove(f"{account} is mistyped: its capitals don't fit its digits (EIP-55)")
    return address
