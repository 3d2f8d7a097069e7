"""An epoch's files: canonical, complete, and enough for anyone to compute the root again (E2, promises V3 and V4)."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.rewards import epochs, recompute
from backend.rewards.engine import Rule, Signal
from backend.rewards.epochs import Budget, Claimed, Inputs, InvalidFile, Rewards, Stream, allowance, budget
from backend.rewards.merkle import process

CHAIN, DISTRIBUTOR, TOKEN = 31337, b"\xd1" * 20, b"\x70" * 20
PER_VOICE = 4 * 10**16
CREATORS = [bytes([0xC0 + i]) * 20 for i in range(6)]


def viewer(number: int, epoch: int) -> bytes:
    return epochs.tag(epoch, bytes([number]) * 20, b"salt" * 4)


class Published:
    """A few epochs of one stream, made as the service makes them."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.trees: list[Rewards] = []

    def keep(self, data: bytes) -> bytes:
        digest = sha256(data).digest()
        self.files[digest] = data
        return digest

    def read(self, digest: bytes) -> bytes:
        return self.files[digest]

    def epoch(self, number: int, pool: int = 10**18) -> bytes:
        rng = random.Random(number)
        events = epochs.ordered(
            Signal(rng.randbytes(16), viewer(rng.randrange(20), number), rng.randrange(1, 9), kind, 60_000, 8_000)
            for _ in range(200)
            for kind in ("watch",)
        )
        creators = {work: CREATORS[work % len(CREATORS)] for work in range(1, 9)}
        inputs = Inputs(
            creators=creators,
            clusters={CREATORS[1]: CREATORS[0], CREATORS[0]: CREATORS[0]},
            verified=frozenset(viewer(n, number) for n in range(15)),
            rule=Rule(cluster_cap_bps=3_000),
        )
        log = self.keep(epochs.log_file(CHAIN, number, events))
        tree = epochs.log_tree(CHAIN, number, events)
        assert tree is not None
        scores = epochs.score_log(events, inputs)
        named = self.keep(
            epochs.scores_file(chain_id=CHAIN, epoch=number, log=log, log_root=tree.root, inputs=inputs, scores=scores)
        )
        before = self.trees[-1] if self.trees else None
        carried = before.rollover if before else 0
        rewards = epochs.share(scores, inputs, pool, per_voice=PER_VOICE).rewards
        self.trees.append(
            Rewards(
                CHAIN,
                DISTRIBUTOR,
                TOKEN,
                number,
                1,
                named,
                sha256(before.file()).digest() if before else None,
                Budget(pool, carried, pool),
                PER_VOICE,
                rewards,
                epochs.add(before.cumulative if before else {}, rewards),
            )
        )
        return self.keep(self.trees[-1].file())


@pytest.fixture(scope="module")
def published() -> Published:
    made = Published()
    for number in (1, 2, 3):
        made.epoch(number)
    return made


@pytest.mark.parametrize("index", [0, 1, 2])
def test_v3_anyone_computes_the_same_root_from_the_files(published: Published, index: int) -> None:
    rewards = published.trees[index]
    done = recompute.recompute(rewards.file(), published.read)
    tree = rewards.tree()
    assert tree is not None
    assert (done.root, done.total) == (tree.root, tree.total)
    assert done.total == sum(sum(each.rewards.values()) for each in published.trees[: index + 1])


def test_v4_every_leaf_proves_and_accounts_strictly_ascend(published: Published) -> None:
    rewards = published.trees[-1]
    tree = rewards.tree()
    assert tree is not None
    accounts = [account for account, _ in rewards.leaves]
    assert accounts == sorted(set(accounts))
    for index, leaf in enumerate(tree.leaves):
        proof = tree.proof(index)
        assert process(proof.nodes, proof.path, leaf) == tree.root_node


def test_v4_no_account_falls_or_disappears_from_one_tree_to_the_next(published: Published) -> None:
    for before, after in zip(published.trees, published.trees[1:], strict=False):
        assert all(after.cumulative[account] >= amount for account, amount in before.cumulative.items())


def test_the_budget_adds_up_over_epochs(published: Published) -> None:
    granted = sum(each.budget.granted for each in published.trees)
    rewarded = sum(sum(each.rewards.values()) for each in published.trees)
    assert granted == rewarded + published.trees[-1].rollover


def changed(data: bytes, path: list[str | int], new: object) -> bytes:
    document = json.loads(data)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return epochs.canonical(document)


def test_the_oracle_finds_one_unit_moved_in_any_file(published: Published) -> None:
    """Planted breaks: each is a file that is well formed and says something else."""
    last = published.trees[-1]
    scores = published.read(last.scores)
    log = published.read(bytes.fromhex(json.loads(scores)["log"]))

    def with_scores(data: bytes) -> bytes:
        return changed(last.file(), ["scores"], published.keep(data).hex())

    def with_log(data: bytes) -> bytes:
        return with_scores(changed(scores, ["log"], published.keep(data).hex()))

    first = json.loads(scores)["scores"][0]
    events = json.loads(log)["events"]
    rewards = dict(last.rewards)
    poor, rich = sorted(rewards, key=lambda account: rewards[account])[:: len(rewards) - 1]
    rewards[poor], rewards[rich] = rewards[poor] + 1, rewards[rich] - 1
    moved = Rewards(
        **(vars(last) | {"rewards": rewards, "cumulative": epochs.add(published.trees[-2].cumulative, rewards)})
    )
    breaks = {
        "scores do not follow": with_scores(changed(scores, ["scores", 0, "voice"], str(int(first["voice"]) + 1))),
        "log's root": with_log(changed(log, ["events", 0, 5], events[0][5] - 1)),
        "rewards do not follow": moved.file(),
        "what a voice pays out": changed(last.file(), ["perVoice"], str(last.per_voice - 10**12)),
        "leaves are not those": Rewards(
            **(vars(last) | {"cumulative": dict(last.cumulative) | {b"\xff" * 20: 1}})
        ).file(),
        "was carried": Rewards(
            **(vars(last) | {"budget": last.budget._replace(carried=last.budget.carried + 1)})
        ).file(),
    }
    for words, file in breaks.items():
        with pytest.raises(recompute.Mismatch, match=words):
            recompute.recompute(file, published.read)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (["root"], "00" * 32),
        (["total"], "1"),
        (["rollover"], "1"),
        (["leaves", 0, "cumulative"], "007"),
        (["leaves", 0, "account"], "0x00"),
        (["format"], "troupe-rewards/2"),
        (["extra"], 1),
    ],
)
def test_a_tree_file_that_is_not_canonical_is_refused(published: Published, path: list[str | int], new: object) -> None:
    with pytest.raises(InvalidFile):
        epochs.read_rewards(changed(published.trees[-1].file(), path, new))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_file_is_refused(data: bytes) -> None:
    for read in (epochs.read_log, epochs.read_scores, epochs.read_rewards):
        with pytest.raises(InvalidFile):
            read(data)


def test_a_log_with_a_number_written_as_text_is_refused() -> None:
    event = Signal(b"\1" * 16, viewer(1, 1), 7, "watch", 1, 1)
    log = epochs.log_file(CHAIN, 1, [event])
    assert epochs.read_log(log) == (CHAIN, 1, [event])
    with pytest.raises(InvalidFile):
        epochs.read_log(log.replace(b",7,", b',"7",'))


def test_the_command_recomputes_and_names_what_is_missing(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, data in enumerate(published.files.values()):
        (tmp_path / f"{number}.json").write_bytes(data)
    last = tmp_path / "last"
    last.write_bytes(published.trees[-1].file())
    assert recompute.main([str(last)]) == 0
    tree = published.trees[-1].tree()
    assert tree is not None
    assert f"root 0x{tree.root.hex()}" in capsys.readouterr().out
    empty = tmp_path / "empty"
    empty.mkdir()
    assert recompute.main([str(last), "--files", str(empty)]) == 1
    assert "has the sha256" in capsys.readouterr().err
    assert recompute.main([str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_pseudonyms_of_two_epochs_have_nothing_in_common() -> None:
    assert epochs.tag(1, b"\1" * 20, b"s" * 16) != epochs.tag(2, b"\1" * 20, b"s" * 16)
    assert epochs.tag(1, b"\1" * 20, b"s" * 16) != epochs.tag(1, b"\1" * 20, b"t" * 16)


def test_an_events_name_in_the_log_says_nothing_of_its_id() -> None:
    own = bytes(range(16))
    assert epochs.logged_id(own, b"s" * 16) != epochs.logged_id(own, b"t" * 16)
    assert epochs.logged_id(own, b"s" * 16) != epochs.logged_id(own[::-1], b"s" * 16)
    assert len(epochs.logged_id(own, b"s" * 16)) == 16


# Budget


amounts = st.integers(0, 10**27)


@given(
    cap=amounts,
    funded_then=amounts,
    funded_now=amounts,
    cap_now=amounts,
    total=amounts,
    claimed=amounts,
    carried=amounts,
    unpublished=amounts,
    current_epoch=st.integers(1, 9),
    root_epoch=st.integers(0, 9),
)
def test_v4_a_pool_is_never_more_than_propose_accepts(
    *,
    cap: int,
    funded_then: int,
    funded_now: int,
    cap_now: int,
    total: int,
    claimed: int,
    carried: int,
    unpublished: int,
    current_epoch: int,
    root_epoch: int,
) -> None:
    now = Stream(cap_now, funded_now, total, min(claimed, total), root_epoch)
    at_end = Stream(cap, funded_then, total, min(claimed, total), root_epoch)
    found = budget(at_end=at_end, now=now, carried=carried, promised=total + unpublished, current_epoch=current_epoch)
    assert found.granted >= 0
    assert 0 <= found.pool <= found.granted + found.carried
    assert found.held_back >= 0
    new_total = total + unpublished + found.pool
    if found.pool:  # RewardDistributor._checkTotal
        assert new_total - now.claimed <= now.funded
        allowed = min(cap_now, funded_now * 500 // 10_000) * min(max(current_epoch - root_epoch, 0), 4)
        assert new_total - total <= allowed


def test_an_epoch_grants_its_cap_and_what_is_carried_waits_for_room() -> None:
    stream = Stream(epoch_cap=100, funded=10_000)
    first = budget(at_end=stream, now=stream, carried=0, promised=0, current_epoch=2)
    assert first == Budget(granted=100, carried=0, pool=100)
    later = Stream(epoch_cap=100, funded=9_950, total=80, claimed=50, root_epoch=2)
    second = budget(at_end=later, now=later, carried=20, promised=80, current_epoch=3)
    assert second == Budget(granted=100, carried=20, pool=100)
    assert second.held_back == 20
    after_a_gap = budget(at_end=later, now=later, carried=20, promised=80, current_epoch=4)
    assert after_a_gap.pool == 120


# Allowances


def test_an_allowance_gathers_up_to_eight_caps() -> None:
    caps = dict.fromkeys(range(1, 40), 10)
    assert allowance([], caps, 5) == 10
    assert allowance([Claimed(10, 5)], caps, 5) == 0
    assert allowance([Claimed(4, 5)], caps, 6) == 16
    assert allowance([Claimed(4, 5)], caps, 30) == 80
    assert allowance([Claimed(4, 5), Claimed(16, 6)], caps, 7) == 10
