"""An epoch's published files and the figures in them: log, scores, reward tree. Pure; what `recompute` runs on too.

Three canonical JSON files (sorted keys, no spaces, ASCII) are pinned for each epoch. They name each other by sha256:

    troupe-log/1      the events that count, under pseudonyms that hold for this epoch alone
    troupe-scores/1   what the log does not say (works' creators, clusters, who is verified); the scores
    troupe-rewards/1  for each token: budget, rewards, and the cumulative leaves; its sha256 is `treeDigest` on chain

From the first two anyone computes the scores again, from the third and the one before it the rewards and the root.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from backend.rewards.engine import (
    VOICE_ONE,
    Allocation,
    Rule,
    Score,
    Signal,
    allocate,
    combine,
    score,
)
from backend.rewards.merkle import Node, Tree, leaf_reward, word

LOG_FORMAT: Final = "troupe-log/1"
SCORES_FORMAT: Final = "troupe-scores/1"
TREE_FORMAT: Final = "troupe-rewards/1"
EMPTY_LOG_ROOT: Final = bytes(32)
TAG_BYTES: Final = 16
MAX_EPOCHS: Final = 4
"""RewardDistributor.MAX_EPOCHS: caps of at most so many epochs since the last root count."""
MAX_EPOCH_BPS: Final = 500
"""RewardDistributor.MAX_EPOCH_BPS: an epoch adds at most this part of what the stream has."""


class InvalidFile(ValueError):
    """A file that is not what its format says; the message says where."""


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one way of writing a document as JSON: its sha256 is its name."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def tag(epoch: int, address: bytes, salt: bytes) -> bytes:
    """A person's pseudonym in one epoch: sha256 of epoch, address and a random salt that only the person is told."""
    return sha256(b"troupe-viewer/1" + epoch.to_bytes(8) + address + salt).digest()[:TAG_BYTES]


def logged_id(event_id: bytes, salt: bytes) -> bytes:
    """An event's name in the log: sha256 of the person's salt of the epoch and the client's own id.

    The client's id itself is not published: an RFC 9562 id of version 1 or 7 carries the time, version 1 the machine
    too, and one of version 3 or 5 can be guessed from what it was made of.
    """
    return sha256(b"troupe-event/1" + salt + event_id).digest()[:TAG_BYTES]


# --- the log ----------------------------------------------------------------------------------------------------------


def event_leaf(chain_id: int, epoch: int, event: Signal) -> Node:
    """Leaf of an event in the log's tree: double keccak of its fields as ABI words; the sum counts events (1)."""
    fields = (
        word(chain_id),
        word(epoch),
        event.viewer.ljust(32, b"\0"),
        event.event_id.ljust(32, b"\0"),
        word(event.work_id),
        event.kind.encode().ljust(32, b"\0"),
        word(event.watched_ms),
        word(event.completion_bps),
    )
    return Node(keccak(keccak(b"".join(fields))), 1)


def ordered(events: Iterable[Signal]) -> list[Signal]:
    """Events in the log's order: by pseudonym, then by event id."""
    return sorted(events, key=lambda event: (event.viewer, event.event_id))


def log_tree(chain_id: int, epoch: int, events: Sequence[Signal]) -> Tree | None:
    """The tree over a log's events in their order; None for an epoch without events."""
    return Tree(event_leaf(chain_id, epoch, event) for event in events) if events else None


def log_file(chain_id: int, epoch: int, events: Sequence[Signal]) -> bytes:
    """The log: a row of pseudonym, `logged_id`, work, kind, milliseconds and basis points for each event."""
    rows = [
        [event.viewer.hex(), event.event_id.hex(), event.work_id, event.kind, event.watched_ms, event.completion_bps]
        for event in events
    ]
    return canonical({"format": LOG_FORMAT, "chainId": chain_id, "epoch": epoch, "events": rows})


def read_log(data: bytes) -> tuple[int, int, list[Signal]]:
    """Chain id, epoch and events of a log file. Raises InvalidFile unless it is exactly what `log_file` writes."""
    document = _document(data, LOG_FORMAT)
    try:
        chain_id, epoch = int(document["chainId"]), int(document["epoch"])
        events = [
            Signal(
                bytes.fromhex(event_id),
                bytes.fromhex(viewer),
                _whole(work_id),
                str(kind),
                _whole(watched_ms),
                _whole(completion_bps),
            )
            for viewer, event_id, work_id, kind, watched_ms, completion_bps in document["events"]
        ]
        again = log_file(chain_id, epoch, ordered(events))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"not a log: {error}") from error
    if again != data:
        raise InvalidFile("not the canonical form of a log")
    return chain_id, epoch, events


def _document(data: bytes, file_format: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)  # bounds the depth by itself; json.loads can overflow the C stack
    except ValueError as error:
        raise InvalidFile(f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != file_format:
        raise InvalidFile(f"not a file of format {file_format}")
    return document


# --- scores -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """What the scores depend on besides the log."""

    creators: Mapping[int, bytes]
    """Creator by work, for the works of the log that can earn."""
    clusters: Mapping[bytes, bytes]
    """Creators that belong together, by `engine.clusters`; others are clusters of their own."""
    verified: frozenset[bytes]
    """Pseudonyms of verified persons: each has one voice, all others have none."""
    rule: Rule = field(default_factory=Rule)


def score_log(events: Iterable[Signal], inputs: Inputs) -> dict[bytes, Score]:
    """The scores of a log by creator.

    What people do with works of their own (or of accounts linked to them) is not in the log: a list here of such pairs
    would tell whose the pseudonyms are.
    """
    return score(
        combine(events),
        creator_of=inputs.creators,
        trust=dict.fromkeys(inputs.verified, VOICE_ONE),
        cluster_of=inputs.clusters,
        rule=inputs.rule,
    )


def scores_file(
    *, chain_id: int, epoch: int, log: bytes, log_root: bytes, inputs: Inputs, scores: Mapping[bytes, Score]
) -> bytes:
    """Inputs and scores; `log` is the log file's sha256."""
    return canonical(
        {
            "format": SCORES_FORMAT,
            "chainId": chain_id,
            "epoch": epoch,
            "log": log.hex(),
            "logRoot": log_root.hex(),
            "rule": asdict(inputs.rule),
            "creators": [[work, to_checksum_address(creator)] for work, creator in sorted(inputs.creators.items())],
            "clusters": [
                [to_checksum_address(account), to_checksum_address(cluster)]
                for account, cluster in sorted(inputs.clusters.items())
            ],
            "verified": sorted(viewer.hex() for viewer in inputs.verified),
            "scores": [
                {
                    "creator": to_checksum_address(creator),
                    "voice": str(parts.voice),
                    "value": str(parts.value),
                    "viewers": parts.viewers,
                }
                for creator, parts in sorted(scores.items())
            ],
        }
    )


class ScoresFile(NamedTuple):
    """A scores file as read."""

    chain_id: int
    epoch: int
    log: bytes
    log_root: bytes
    inputs: Inputs
    scores: dict[bytes, Score]


def read_scores(data: bytes) -> ScoresFile:
    """Read a scores file. Raises InvalidFile unless it is exactly what `scores_file` writes."""
    document = _document(data, SCORES_FORMAT)
    try:
        inputs = Inputs(
            creators={_whole(work): _address(creator) for work, creator in document["creators"]},
            clusters={_address(account): _address(cluster) for account, cluster in document["clusters"]},
            verified=frozenset(map(bytes.fromhex, document["verified"])),
            rule=Rule(**document["rule"]),
        )
        read = ScoresFile(
            int(document["chainId"]),
            int(document["epoch"]),
            bytes.fromhex(document["log"]),
            bytes.fromhex(document["logRoot"]),
            inputs,
            {
                _address(row["creator"]): Score(int(row["voice"]), int(row["value"]), int(row["viewers"]))
                for row in document["scores"]
            },
        )
        again = scores_file(
            chain_id=read.chain_id,
            epoch=read.epoch,
            log=read.log,
            log_root=read.log_root,
            inputs=read.inputs,
            scores=read.scores,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"not a scores file: {error}") from error
    if again != data:
        raise InvalidFile("not the canonical form of a scores file")
    return read


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _address(text: str) -> bytes:
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"{text} is not an address")
    return raw


# --- budget -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """A token's stream as the chain has it at some block, in base units."""

    epoch_cap: int
    funded: int
    """All that came in and was not paid out."""
    total: int = 0
    """Promised by the active root, paid or not."""
    claimed: int = 0
    root_epoch: int = 0
    """The epoch that the active root was proposed in; 0 before the first."""

    @property
    def free(self) -> int:
        """Funds that nobody was promised."""
        return self.funded - (self.total - self.claimed)


class Budget(NamedTuple):
    """What an epoch has to share out."""

    granted: int
    carried: int
    pool: int

    @property
    def held_back(self) -> int:
        """What the contract does not allow yet; it is carried on."""
        return self.granted + self.carried - self.pool


def budget(*, at_end: Stream, now: Stream, carried: int, promised: int, current_epoch: int) -> Budget:
    """An epoch's budget. The epoch grants its cap, at most 5 % of the funds at its end, at most what is free then.

    The pool is that and what is `carried` from before, as far as `propose` would accept it `now`: `promised` is the
    total of the tree that this one adds to, which may not be the active one yet. All in base units, never negative.
    """
    ceiling = at_end.funded * MAX_EPOCH_BPS // 10_000
    granted = max(min(at_end.epoch_cap, ceiling, at_end.free - carried), 0)
    epochs = min(max(current_epoch - now.root_epoch, 0), MAX_EPOCHS)
    allowed = min(now.epoch_cap, now.funded * MAX_EPOCH_BPS // 10_000) * epochs
    unpublished = promised - now.total
    pool = max(min(granted + carried, min(allowed, now.free) - unpublished), 0)
    return Budget(granted, carried, pool)


# --- the reward tree --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rewards:
    """What one epoch adds to one stream, and the tree of all that was ever added."""

    chain_id: int
    distributor: bytes
    token: bytes
    epoch: int
    attempt: int
    """1, and more when an earlier tree of the epoch did not come to count; so no two trees share a digest."""
    scores: bytes
    """sha256 of the scores file."""
    previous: bytes | None
    """sha256 of the tree file whose leaves this one adds to."""
    budget: Budget
    per_voice: int
    """What one whole voice could pay out of the pool at most, base units."""
    rewards: Mapping[bytes, int]
    cumulative: Mapping[bytes, int]

    @property
    def rollover(self) -> int:
        """granted + carried - rewarded: nothing is lost and nothing comes out of nothing."""
        return self.budget.granted + self.budget.carried - sum(self.rewards.values())

    @property
    def leaves(self) -> list[tuple[bytes, int]]:
        """Accounts with what they were ever awarded, strictly ascending as the contract demands."""
        return sorted(self.cumulative.items())

    def tree(self) -> Tree | None:
        """The Merkle-sum tree over the leaves; None while nobody was ever awarded anything."""
        leaves = [
            leaf_reward(self.chain_id, self.distributor, self.token, account, amount) for account, amount in self.leaves
        ]
        return Tree(leaves) if leaves else None

    def file(self) -> bytes:
        """The tree file."""
        tree = self.tree()
        if tree is None:
            raise InvalidFile("a tree file needs a leaf")
        return canonical(
            {
                "format": TREE_FORMAT,
                "chainId": self.chain_id,
                "distributor": to_checksum_address(self.distributor),
                "token": to_checksum_address(self.token),
                "epoch": self.epoch,
                "attempt": self.attempt,
                "scores": self.scores.hex(),
                "previous": self.previous.hex() if self.previous else None,
                "granted": str(self.budget.granted),
                "carried": str(self.budget.carried),
                "pool": str(self.budget.pool),
                "perVoice": str(self.per_voice),
                "rollover": str(self.rollover),
                "rewards": [
                    {"account": to_checksum_address(account), "amount": str(amount)}
                    for account, amount in sorted(self.rewards.items())
                ],
                "leaves": [
                    {"account": to_checksum_address(account), "cumulative": str(amount)}
                    for account, amount in self.leaves
                ],
                "root": tree.root.hex(),
                "total": str(tree.total),
            }
        )


def read_rewards(data: bytes) -> Rewards:
    """Read a tree file. Raises InvalidFile unless it is exactly what `Rewards.file` writes, root and total included."""
    document = _document(data, TREE_FORMAT)
    try:
        read = Rewards(
            int(document["chainId"]),
            _address(document["distributor"]),
            _address(document["token"]),
            int(document["epoch"]),
            _whole(document["attempt"]),
            bytes.fromhex(document["scores"]),
            bytes.fromhex(document["previous"]) if document["previous"] else None,
            Budget(int(document["granted"]), int(document["carried"]), int(document["pool"])),
            int(document["perVoice"]),
            {_address(row["account"]): int(row["amount"]) for row in document["rewards"]},
            {_address(row["account"]): int(row["cumulative"]) for row in document["leaves"]},
        )
        again = read.file()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"not a tree file: {error}") from error
    if again != data:
        raise InvalidFile("not the canonical form of a tree file, or its root is not that of its leaves")
    return read


def share(scores: Mapping[bytes, Score], inputs: Inputs, pool: int, *, per_voice: int) -> Allocation:
    """The pool's parts by creator, under the cluster cap of the rule and the bound on what a voice pays out."""
    voices = {creator: parts.voice for creator, parts in scores.items()}
    return allocate(pool, voices, inputs.clusters, inputs.rule.cluster_cap_bps, per_voice)


def add(before: Mapping[bytes, int], rewards: Mapping[bytes, int]) -> dict[bytes, int]:
    """Cumulative amounts after an epoch: nobody is dropped, nobody falls."""
    return {account: before.get(account, 0) + rewards.get(account, 0) for account in sorted({*before, *rewards})}


# --- what a claim pays ------------------------------------------------------------------------------------------------


class Claimed(NamedTuple):
    """A payment of the distributor: its amount and the epoch of the payment."""

    amount: int
    epoch: int


MAX_ALLOWANCES: Final = 8
"""RewardDistributor.MAX_ALLOWANCES: account caps that gather while an account does not claim."""


def allowance(claims: Iterable[Claimed], caps: Mapping[int, int], current_epoch: int) -> int:
    """What an account can be paid now at most, as the contract reckons: `caps` gives the account cap of each epoch.

    A first claim has one cap; then each epoch adds one, up to eight, and what was claimed is taken away.
    """
    left, last = caps[current_epoch], 0
    for claim in claims:
        cap = caps[claim.epoch]
        left = (min(MAX_ALLOWANCES * cap, left + cap * (claim.epoch - last)) if last else cap) - claim.amount
        last = claim.epoch
    if not last:
        return caps[current_epoch]
    cap = caps[current_epoch]
    return min(MAX_ALLOWANCES * cap, left + cap * (current_epoch - last))
