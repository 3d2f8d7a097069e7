"""WorkRegistry's events alone rebuild its state, after a random history."""

import random

import pytest
from brownie import accounts
from eth_utils import keccak
from kit import logs_of, next_block_at, now
from money import ACTIVE, DIGEST, NONE, REVOKED, SUSPENDED, plain
from works import AI_ASSISTED, AI_GENERATED, commitment, content, licensed, registered

pytestmark = pytest.mark.feature("O1", via="chain")

STEPS = 48


class History:
    """Random calls of owners, moderators and governance; each goes through."""

    def __init__(self, registry, admin, seed):
        self.registry, self.admin, self.dice = registry, {"from": admin}, random.Random(seed)
        self.people = accounts[1:6]
        self.standing = {}
        self.terms = [licensed(registry, self.people[0], minShareBps=bps, relative=bps == 100) for bps in (100, 501)]
        self.rules = [self.transfer, self.approve, self.set_metadata, self.correct_label, self.set_status, self.revoke]

    def run(self):
        for step in range(STEPS):
            if step < 4 or step % 4 == 0:
                self.register(step)
            else:
                self.dice.choice(self.rules)(*self.live_work(), word=keccak(text=f"word {step}"))

    def live_work(self):
        work = self.dice.choice([one for one, status in self.standing.items() if status != REVOKED])
        return work, {"from": accounts.at(self.registry.ownerOf(work))}

    def register(self, step):
        who, salt = self.dice.choice(self.people), keccak(text=f"salt {step}")
        active = [one for one, status in self.standing.items() if status == ACTIVE]
        parents = sorted(self.dice.sample(active, min(len(active), self.dice.randrange(3))))
        self.registry.commit(commitment(self.registry, who, content(9_000 + step), salt), {"from": who})
        next_block_at(now() + 10)
        given = {"contentHash": content(9_000 + step), "salt": salt, "licenceId": self.dice.choice(self.terms)}
        work = registered(self.registry, who, parents=parents, shares=[600] * len(parents), **given)
        self.standing[work] = ACTIVE

    def transfer(self, work, owner, word):
        self.registry.transferFrom(owner["from"], self.dice.choice(self.people), work, owner)

    def approve(self, work, owner, word):
        self.registry.approveDerivative(work, self.dice.choice(self.people), word, owner)

    def set_metadata(self, work, owner, word):
        if self.standing[work] == ACTIVE:
            self.registry.setMetadata(work, word, owner)

    def correct_label(self, work, owner, word):
        label = AI_GENERATED if plain(self.registry.workOf(work))[6] == AI_ASSISTED else AI_ASSISTED
        self.registry.correctAiLabel(work, label, NONE, self.admin)

    def set_status(self, work, owner, word):
        self.standing[work] = ACTIVE if self.standing[work] == SUSPENDED else SUSPENDED
        self.registry.setStatus(work, self.standing[work], word, self.admin)

    def revoke(self, work, owner, word):
        if work % 3 == 0:  # most works are to live on
            self.standing[work] = REVOKED
            self.registry.revoke(work, DIGEST, self.admin)


class Mirror:
    """The registry's state, folded from its events."""

    def __init__(self, registry):
        self.works, self.owners, self.parents, self.commitments = {}, {}, {}, {}
        self.licences, self.approvals = {}, set()
        for name, args, time in logs_of(registry):
            getattr(self, f"on_{name}", self.ignore)(time, **args)

    def ignore(self, time, **args):
        """What changes nothing that a getter of a work tells."""

    def on_WorkRegistered(self, time, workId, contentHash, cidDigest, committedAt, licenceId, kind, aiLabel, **rest):
        self.works[workId] = [contentHash, cidDigest, time, committedAt, licenceId, kind, aiLabel, ACTIVE]

    def on_DerivationRecorded(self, time, workId, parentId, **rest):
        self.parents.setdefault(workId, []).append(parentId)

    def on_MetadataChanged(self, time, workId, cidDigest):
        self.works[workId][1] = cidDigest

    def on_AiLabelChanged(self, time, workId, label, **rest):
        self.works[workId][6] = label

    def on_WorkStatusChanged(self, time, workId, status, **rest):
        self.works[workId][7] = status

    def on_Transfer(self, time, tokenId, to, **rest):
        self.owners[tokenId] = to

    def on_WorkCommitted(self, time, commitment, **rest):
        self.commitments[commitment] = time

    def on_DerivativeApproved(self, time, parentId, deriver, contentHash):
        self.approvals.add((parentId, deriver, contentHash))

    def on_LicenceCreated(self, time, licenceId, terms, **rest):
        self.licences[licenceId] = tuple(terms.values())


def test_case_60_events_alone_rebuild_the_registry(registry, admin):
    """Works, owners, labels, standing, parents, licences, approvals and commitments."""
    History(registry, admin, seed=60).run()
    mirror = Mirror(registry)
    assert sorted(mirror.works) == list(range(1, registry.workCount() + 1))
    assert {facts[7] for facts in mirror.works.values()} == {ACTIVE, SUSPENDED, REVOKED}
    for work, facts in mirror.works.items():
        assert plain(registry.workOf(work)) == plain(tuple(facts))
        assert registry.ownerOf(work) == mirror.owners[work]
        assert plain(registry.parentsOf(work)) == tuple(mirror.parents.get(work, ()))
    assert len(mirror.licences) == registry.licenceCount()
    assert all(plain(registry.licenceOf(one)) == plain(terms) for one, terms in mirror.licences.items())
    assert len(mirror.approvals) > 2
    assert all(registry.isDerivativeApproved(*one) for one in mirror.approvals)
    assert len(mirror.commitments) > 10
    assert all(registry.committedAt(mark) == time for mark, time in mirror.commitments.items())
