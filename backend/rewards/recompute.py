"""Compute a reward root again from its pinned files: `python -m backend.rewards.recompute TREE_FILE [--files FOLDER]`.

The folder (by default the tree file's own) holds the scores file, the log and the tree file before, under any names:
they are found by their sha256. Exit status 0: everything follows; 1: something does not, it is named; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from backend.rewards.epochs import (
    EMPTY_LOG_ROOT,
    InvalidFile,
    Rewards,
    add,
    log_tree,
    read_log,
    read_rewards,
    read_scores,
    score_log,
    share,
)

Read = Callable[[bytes], bytes]
"""Gives the file with a sha256. Raises LookupError when it can't be had."""


class Mismatch(Exception):
    """Something in the files does not follow from the rest; the message says what."""


class Recomputed(NamedTuple):
    """What came out."""

    rewards: Rewards
    root: bytes
    total: int
    log_root: bytes
    events: int


def recompute(tree_file: bytes, read: Read) -> Recomputed:
    """Follow a tree file back to its log, and compute log root, scores, rewards, leaves and root again.

    What the files can't show is where the budget and the inputs of the scores come from: those are the chain's events
    (docs/rewards.md says which). Raises Mismatch, InvalidFile, LookupError.
    """
    rewards = read_rewards(tree_file)  # the root is that of the leaves
    tree = rewards.tree()
    if tree is None:
        raise Mismatch("the tree has no leaves")
    scored = read_scores(_read(read, rewards.scores))
    chain_id, epoch, events = read_log(_read(read, scored.log))
    place = (rewards.chain_id, rewards.epoch)
    if (scored.chain_id, scored.epoch) != place or (chain_id, epoch) != place:
        raise Mismatch("tree, scores and log are not of one chain and epoch")
    log = log_tree(chain_id, epoch, events)
    log_root = log.root if log else EMPTY_LOG_ROOT
    if log_root != scored.log_root:
        raise Mismatch(f"the log's root is {log_root.hex()}, not {scored.log_root.hex()}")
    if score_log(events, scored.inputs) != scored.scores:
        raise Mismatch("the scores do not follow from the log")
    allocation = share(scored.scores, scored.inputs, rewards.budget.pool, per_voice=rewards.per_voice)
    if allocation.rewards != rewards.rewards:
        raise Mismatch("the rewards do not follow from the scores, the pool and what a voice pays out")
    if rewards.budget.pool > rewards.budget.granted + rewards.budget.carried:
        raise Mismatch("the pool is above what was granted and carried")
    before: dict[bytes, int] = {}
    if rewards.previous is not None:
        previous = read_rewards(_read(read, rewards.previous))
        if (previous.chain_id, previous.distributor, previous.token) != (
            rewards.chain_id,
            rewards.distributor,
            rewards.token,
        ):
            raise Mismatch("the tree before is of another stream")
        if previous.epoch == rewards.epoch - 1 and previous.rollover != rewards.budget.carried:
            raise Mismatch(f"{rewards.budget.carried} was carried, {previous.rollover} was left over")
        before = dict(previous.cumulative)
    if add(before, rewards.rewards) != dict(rewards.cumulative):
        raise Mismatch("the leaves are not those of the tree before plus the rewards")
    return Recomputed(rewards, tree.root, tree.total, log_root, len(events))


def _read(read: Read, digest: bytes) -> bytes:
    data = read(digest)
    if sha256(data).digest() != digest:
        raise Mismatch(f"the file given for {digest.hex()} has another sha256")
    return data


def folder(path: Path) -> Read:
    """Reads files of a folder by their sha256, whatever they are called."""
    by_digest = {sha256(file.read_bytes()).digest(): file for file in sorted(path.iterdir()) if file.is_file()}

    def read(digest: bytes) -> bytes:
        try:
            return by_digest[digest].read_bytes()
        except KeyError:
            raise LookupError(f"no file in {path} has the sha256 {digest.hex()}: put it there") from None

    return read


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.rewards.recompute", description=__doc__)
    parser.add_argument("tree_file", type=Path)
    parser.add_argument("--files", type=Path, help="folder with the other files (default: that of the tree file)")
    given = parser.parse_args(arguments)
    files: Path = given.files or given.tree_file.resolve().parent
    for path, wanted in ((given.tree_file, Path.is_file), (files, Path.is_dir)):
        if not wanted(path):
            sys.stderr.write(f"{path} does not exist: name the tree file, and the folder of the others with --files\n")
            return 2
    try:
        done = recompute(given.tree_file.read_bytes(), folder(files))
    except (Mismatch, InvalidFile, LookupError) as error:
        sys.stderr.write(f"recomputing {given.tree_file}: {error}\n")
        return 1
    sys.stdout.write(
        f"epoch {done.rewards.epoch}: {done.events} events, log root 0x{done.log_root.hex()}\n"
        f"{len(done.rewards.rewards)} creators rewarded {sum(done.rewards.rewards.values())} of a pool of"
        f" {done.rewards.budget.pool}; {done.rewards.rollover} carried on\n"
        f"root 0x{done.root.hex()}, total {done.total}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
