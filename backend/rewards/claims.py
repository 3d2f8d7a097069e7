"""What accounts can claim: leaves of the active roots with their proofs, and what the contract would pay now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.models.rewards import RewardLeaf, RewardRoot
from backend.rewards import epochs, streams
from backend.rewards.merkle import Node, Proof, Tree, leaf_reward
from backend.rewards.terms import raw


@dataclass(frozen=True)
class Claimable:
    """An account in one stream, base units."""

    token: bytes
    cumulative: int
    claimed: int
    allowance: int
    pending: int
    """What the pending root adds to the active one."""
    pending_from: int | None
    root: bytes | None
    proof: Proof | None

    @property
    def due(self) -> int:
        """Awarded and not paid."""
        return max(self.cumulative - self.claimed, 0)

    @property
    def now(self) -> int:
        """What a claim would pay."""
        return min(self.due, self.allowance)


def claimable(session: Session, chain: ChainInfo, account: bytes, *, current_epoch: int) -> list[Claimable]:
    """The account in every stream that has caps, in the order of their tokens."""
    return [
        _in_stream(session, chain, token, account, current_epoch=current_epoch) for token in streams.tokens(session)
    ]


def _in_stream(session: Session, chain: ChainInfo, token: bytes, account: bytes, *, current_epoch: int) -> Claimable:
    proposals = streams.proposals(session, token)
    active = next((each for each in reversed(proposals) if each.status == "final"), None)
    waiting = proposals[-1] if proposals and proposals[-1].status in ("pending", "challenged") else None
    cumulative, proof = _leaf(session, chain, active, account)
    then, _ = _leaf(session, chain, waiting, account, with_proof=False)
    paid = streams.claims(session, token, account)
    changes = streams.caps(session, token)
    caps = {epoch: streams.in_force(changes, epoch).account_cap for epoch in range(1, current_epoch + 1)}
    return Claimable(
        token=token,
        cumulative=cumulative,
        claimed=sum(claim.amount for claim in paid),
        allowance=epochs.allowance(paid, caps, current_epoch),
        pending=max(then - cumulative, 0) if waiting else 0,
        pending_from=waiting.finalizable_at if waiting else None,
        root=active.root if active else None,
        proof=proof,
    )


def _leaf(
    session: Session,
    chain: ChainInfo,
    proposal: streams.Proposal | None,
    account: bytes,
    *,
    with_proof: bool = True,
) -> tuple[int, Proof | None]:
    """The account's amount under a root and its proof; nothing under a root that is not ours."""
    if proposal is None:
        return 0, None
    row = session.scalars(select(RewardRoot).where(RewardRoot.tree_sha256 == proposal.tree_digest)).first()
    if row is None:
        return 0, None
    leaf = session.scalars(
        select(RewardLeaf).where(RewardLeaf.root_id == row.id, RewardLeaf.account == account)
    ).one_or_none()
    if leaf is None:
        return 0, None
    return leaf.cumulative, _tree(session, chain, row).proof(leaf.index) if with_proof else None


def _tree(session: Session, chain: ChainInfo, row: RewardRoot) -> Tree:
    leaves = session.execute(
        select(RewardLeaf.account, RewardLeaf.cumulative).where(RewardLeaf.root_id == row.id).order_by(RewardLeaf.index)
    )
    distributor = raw(chain.address(streams.CONTRACT))
    tree = _built(chain.chain_id, distributor, row.token, tuple((account, amount) for account, amount in leaves))
    if tree.root != row.root:
        raise AssertionError(f"the leaves of root {row.id} give 0x{tree.root.hex()}")
    return tree


@lru_cache(maxsize=16)
def _built(chain_id: int, distributor: bytes, token: bytes, leaves: tuple[tuple[bytes, int], ...]) -> Tree:
    return Tree(leaf_reward(chain_id, distributor, token, account, amount) for account, amount in leaves)


def as_tuples(nodes: list[Node]) -> list[tuple[bytes, int]]:
    """Proof nodes as the ABI takes them."""
    return [(node.hash, node.sum) for node in nodes]
