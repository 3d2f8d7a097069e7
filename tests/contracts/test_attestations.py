"""AttestationRegistry: attesting and taking back, directly and by signature; what a uid and a commitment prove."""

import random
from collections import Counter

import pytest
from attestations import (
    ATTEST,
    FOR_EVER,
    LIKENESS,
    NEVER,
    NONE,
    REVOKE,
    Model,
    attested,
    committed,
    signed_attestation,
    signed_revocation,
    statement,
    uid_of,
    word,
)
from brownie import AttestationRegistry, ReentrantAccount, SignerWallet, web3
from brownie.test import given
from eth_utils import keccak
from histories import seeds
from hypothesis import settings, strategies
from kit import both, logs_of, next_block_at, now, reverts, within_budget
from money import hexed, keyed, plain

pytestmark = pytest.mark.feature("P6", via="chain")

SCHEMAS = (
    "LIKENESS_CONSENT",
    "VOICE_CONSENT",
    "DATA_CONSENT",
    "CONTENT_VERIFIED",
    "AI_LABEL",
    "LICENCE_GRANT",
    "IDENTITY",
)


@pytest.fixture(scope="module")
def attestations(admin, module_isolation):
    return AttestationRegistry.deploy({"from": admin})


@pytest.fixture(scope="module")
def person(accounts):
    return accounts[1]


# --- attesting


def test_schemas_are_the_hashes_of_their_names(attestations):
    assert [getattr(attestations, name)() for name in SCHEMAS] == [hexed(word(name)) for name in SCHEMAS]


def test_attest_records_who_since_when_until_when(attestations, person):
    earlier, first = attested(attestations, person)
    at = now() + 100
    made = statement(person, ref_uid=first, expires=at + 50)
    next_block_at(at)
    tx = attestations.attest(*made.words, {"from": person})
    uid = uid_of(attestations, made)
    assert attestations.uidOf(person, made.schema, made.subject, made.commitment, made.expires) == hexed(uid)
    assert plain(attestations.attestationOf(uid)) == (str(person), at, at + 50, hexed(made.commitment), 0)
    assert [dict(event) for event in tx.events["Attested"]] == [
        {
            "uid": hexed(uid),
            "schema": hexed(LIKENESS),
            "attester": person,
            "subject": hexed(made.subject),
            "commitment": hexed(made.commitment),
            "refUid": hexed(first),
            "expires": at + 50,
        }
    ]
    assert uid != first
    assert attestations.isLive(first)
    assert plain(attestations.attestationOf(first))[2:] == (NEVER, hexed(earlier.commitment), 0)


@pytest.mark.parametrize("part", ["schema", "subject", "commitment"])
def test_attest_refuses_an_empty_hash(attestations, person, part):
    made = statement(person, **{part: NONE})
    with reverts("AttestationEmptyHash"):
        attestations.attest(*made.words, {"from": person})


def test_attest_refuses_what_would_end_before_it_begins(attestations, person):
    for left in (-1, 0):
        at = now() + 100
        next_block_at(at)
        with reverts("AttestationExpired", at + left):
            attestations.attest(*statement(person, expires=at + left).words, {"from": person})
    at = now() + 100
    next_block_at(at)
    attestations.attest(*statement(person, expires=at + 1).words, {"from": person})


def test_attest_refuses_a_reference_to_nothing(attestations, person):
    made = statement(person, ref_uid=word("nothing"))
    with reverts("AttestationUnknown", made.ref_uid):
        attestations.attest(*made.words, {"from": person})


def test_same_attestation_is_refused_and_never_changes_its_time(attestations, person, stranger):
    """The time is immutable: neither a repetition nor a revocation nor another account's copy touches it."""
    made, uid = attested(attestations, person)
    at = attestations.attestationOf(uid)["attestedAt"]
    with reverts("AttestationExists", uid):
        attestations.attest(*made.words, {"from": person})
    attestations.attest(*made.words, {"from": stranger})  # its own: another uid
    attestations.revoke(uid, {"from": person})
    with reverts("AttestationExists", uid):  # a revoked one does not come back
        attestations.attest(*made.words, {"from": person})
    assert attestations.attestationOf(uid)["attestedAt"] == at
    assert not attestations.isLive(uid)


def test_unknown_attestations_are_refused_everywhere(attestations, person):
    uid = word("nothing")
    for call in (
        lambda: attestations.revoke(uid, {"from": person}),
        lambda: attestations.revokeBySig(*signed_revocation(attestations, keyed(1).key, uid), {"from": person}),
        lambda: attestations.attestationOf(uid),
    ):
        with reverts("AttestationUnknown", uid):
            call()
    assert not attestations.isLive(uid)
    assert not attestations.isValid(uid, LIKENESS, person, word("a work"))
    # Nor does the uid of an attestation with an empty commitment, which nobody can make, stand for one.
    empty = statement(person, commitment=NONE)
    assert not attestations.isValid(uid_of(attestations, empty), empty.schema, person, empty.subject)


# --- taking back


def test_only_the_attester_takes_it_back(attestations, person, stranger, admin):
    _, uid = attested(attestations, person)
    for other in (stranger, admin):
        with reverts("AttestationNotAttester", uid, other):
            attestations.revoke(uid, {"from": other})
    at = now() + 7
    next_block_at(at)
    tx = attestations.revoke(uid, {"from": person})
    assert [dict(event) for event in tx.events["Revoked"]] == [{"uid": hexed(uid), "attester": person}]
    assert plain(attestations.attestationOf(uid))[4] == at
    with reverts("AttestationAlreadyRevoked", uid, at):
        attestations.revoke(uid, {"from": person})


def test_nobody_administers_it():
    """A function that is added must be named here: nothing is restricted, so no role can attest or take back."""
    found = {
        entry["name"]
        for entry in AttestationRegistry.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert found == {"attest", "attestBySig", "revoke", "revokeBySig"}


def test_expired_attestation_can_still_be_taken_back(attestations, person):
    _, uid = attested(attestations, person, expires=now() + 10)
    next_block_at(now() + 20)
    attestations.revoke(uid, {"from": person})
    assert attestations.attestationOf(uid)["revokedAt"] == now()


# --- validity


def test_valid_until_the_second_it_expires(attestations, person):
    expires = now() + 100
    made, uid = attested(attestations, person, expires=expires)
    for time, live in ((expires - 1, True), (expires, False), (expires + 1, False)):
        next_block_at(time)
        web3.provider.make_request("evm_mine", [])
        assert attestations.isLive(uid) == live
        assert attestations.isValid(uid, made.schema, person, made.subject) == live


@pytest.mark.feature("P4", via="chain")
def test_case_24_a_likeness_consent_that_is_revoked_is_invalid_from_the_same_block(attestations, person, stranger):
    """The registry's half of case 24: whoever asks sees it, with no call by anyone else; no later one revives it."""
    work = word("the work that shows the likeness")
    made, uid = attested(attestations, person, subject=work)
    assert attestations.isValid(uid, LIKENESS, person, work)
    attestations.revoke(uid, {"from": person})
    assert not attestations.isValid(uid, LIKENESS, person, work)
    again, renewed = attested(attestations, person, subject=work)
    assert attestations.isValid(renewed, LIKENESS, person, work)
    assert not attestations.isValid(uid, LIKENESS, person, work)
    assert made.commitment != again.commitment


def test_valid_is_a_statement_about_schema_attester_and_subject(attestations, person, stranger):
    """A consent to something else, or somebody else's, is none."""
    made, uid = attested(attestations, person)
    other, other_uid = attested(attestations, stranger)
    assert attestations.isValid(uid, made.schema, person, made.subject)
    for schema, attester, subject in (
        (word("VOICE_CONSENT"), person, made.subject),
        (made.schema, stranger, made.subject),
        (made.schema, person, word("another work")),
        (NONE, person, made.subject),
        (made.schema, "0x" + "00" * 20, made.subject),
    ):
        assert not attestations.isValid(uid, schema, attester, subject)
    assert not attestations.isValid(other_uid, other.schema, person, other.subject)


def test_uid_is_of_this_registry_and_chain(attestations, admin, person):
    made, uid = attested(attestations, person)
    twin = AttestationRegistry.deploy({"from": admin})
    twin.attest(*made.words, {"from": person})
    assert not twin.isLive(uid)
    assert uid_of(attestations, made, chain_id=1) != uid


@given(
    change=strategies.dictionaries(
        strategies.sampled_from(["schema", "subject", "commitment", "expires", "attester"]),
        strategies.integers(min_value=1, max_value=2**40),
        min_size=1,
    )
)
@settings(max_examples=25)
def test_any_change_gives_another_uid(attestations, person, change):
    """What is valid is what was said: a statement that differs in anything has another uid."""
    made = statement(person)
    kinds = {"expires": lambda n: n, "attester": lambda n: web3.to_checksum_address(n.to_bytes(20, "big"))}
    other = made._replace(**{part: kinds.get(part, lambda n: n.to_bytes(32, "big"))(n) for part, n in change.items()})
    read = attestations.uidOf(other.attester, other.schema, other.subject, other.commitment, other.expires)
    assert read == hexed(uid_of(attestations, other))
    assert read != hexed(uid_of(attestations, made))


# --- openings


def test_case_25_opening_fails_with_the_wrong_salt(attestations, person):
    payload, salt = b'{"name":"Ada"}', word("salt")
    _, uid = attested(attestations, person, commitment=committed(payload, salt))
    assert attestations.verifyOpening(uid, payload, salt)
    for other, wrong in ((payload, word("other salt")), (payload, NONE), (b"", salt), (payload + b" ", salt)):
        assert not attestations.verifyOpening(uid, other, wrong)
    assert not attestations.verifyOpening(word("nothing"), payload, salt)


def test_case_25_same_payload_with_another_salt_gives_another_commitment(attestations, person):
    payload = b"a name that could be guessed"
    uids = [attested(attestations, person, commitment=committed(payload, word(salt)))[1] for salt in "ab"]
    one, other = (attestations.attestationOf(uid)["commitment"] for uid in uids)
    assert one != other
    assert hexed(keccak(payload)) not in (one, other)
    assert not attestations.verifyOpening(uids[0], payload, word("b"))


def test_case_25_no_payload_in_the_calldata_of_attest():
    """Words of fixed size alone: there is no place in a transaction that a payload could be put into by mistake."""
    entries = {entry["name"]: entry for entry in AttestationRegistry.abi if entry["type"] == "function"}
    words = {"bytes32", "uint48", "uint256", "address"}
    assert {given["type"] for given in entries["attest"]["inputs"]} <= words
    request, *rest = entries["attestBySig"]["inputs"]
    assert {part["type"] for part in request["components"]} <= words
    assert [given["type"] for given in rest] == ["uint256", "uint48", "bytes"]  # the signature
    assert entries["verifyOpening"]["stateMutability"] == "view"


def test_empty_salt_opens_nothing(attestations, person):
    """A commitment without a salt can be guessed, so nothing accepts it as an opening."""
    payload = b"payload"
    _, uid = attested(attestations, person, commitment=committed(payload, NONE))
    assert not attestations.verifyOpening(uid, payload, NONE)


@given(
    payload=strategies.binary(max_size=300),
    other=strategies.binary(max_size=300),
    salt=strategies.binary(min_size=32, max_size=32).filter(any),
)
@settings(max_examples=20)
def test_only_what_was_committed_opens(attestations, person, payload, other, salt):
    uid = word("one")
    made = statement(person, commitment=committed(payload, salt))
    uid = uid_of(attestations, made)
    if not attestations.isLive(uid):  # the same payload may be drawn twice
        attestations.attest(*made.words, {"from": person})
    assert attestations.verifyOpening(uid, payload, salt)
    assert attestations.verifyOpening(uid, other, salt) == (other == payload)
    assert not attestations.verifyOpening(uid, payload, bytes([salt[0] ^ 1]) + salt[1:])


# --- by signature


def test_typehashes_are_those_of_the_signed_structs(attestations):
    for primary, fields, found in (
        ("Attest", ATTEST, attestations.ATTEST_TYPEHASH()),
        ("Revoke", REVOKE, attestations.REVOKE_TYPEHASH()),
    ):
        text = f"{primary}(" + ",".join(f"{kind} {name}" for kind, name in fields) + ")"
        assert found == hexed(keccak(text=text))


def test_attest_by_signature_attests_for_the_signer(attestations, person, stranger):
    made = statement(person)
    args = signed_attestation(attestations, keyed(1).key, made)
    tx = attestations.attestBySig(*args, {"from": stranger})
    uid = uid_of(attestations, made)
    assert tx.events["Attested"]["attester"] == person
    assert attestations.isValid(uid, made.schema, person, made.subject)
    with reverts("InvalidAccountNonce", person, 1):
        attestations.attestBySig(*args, {"from": stranger})


def test_revoke_by_signature_takes_back_for_the_signer(attestations, person, stranger):
    _, uid = attested(attestations, person)
    args = signed_revocation(attestations, keyed(1).key, uid)
    attestations.revokeBySig(*args, {"from": stranger})
    assert not attestations.isLive(uid)
    with reverts("InvalidAccountNonce", person, 1):
        attestations.revokeBySig(*args, {"from": stranger})
    with reverts("AttestationAlreadyRevoked"):
        attestations.revokeBySig(*signed_revocation(attestations, keyed(1).key, uid, nonce=1), {"from": stranger})


def test_signature_for_anything_else_is_refused(attestations, person, stranger):
    """Wrong chain, contract, signer, changed statement, malleable s, none: each."""
    made, key = statement(person), keyed(1).key
    good = signed_attestation(attestations, key, made)
    wrong = [
        signed_attestation(attestations, key, made, chainId=1),
        signed_attestation(attestations, key, made, verifyingContract=str(stranger)),
        signed_attestation(attestations, key, made, name="Troupe WorkRegistry"),
        signed_attestation(attestations, keyed(2).key, made),
        [*good[:3], b""],
        [*good[:3], malleable(good[3])],
        [good[0], 1, *good[2:]],
        [*good[:2], FOR_EVER - 1, good[3]],
        signed_revocation(attestations, key, uid_of(attestations, made))[3:],
    ]
    wrong[-1] = [*good[:3], *wrong[-1]]
    for part, value in (("schema", word("x")), ("subject", word("x")), ("commitment", word("x")), ("expires", 2**47)):
        wrong.append([tuple(made._replace(**{part: value})), *good[1:]])
    for args in wrong:
        with reverts("AttestationBadSignature", person):
            attestations.attestBySig(*args, {"from": stranger})
    with reverts("AttestationBadSignature", stranger):
        attestations.attestBySig(tuple(made._replace(attester=str(stranger))), *good[1:], {"from": stranger})
    with reverts("AttestationBadSignature", "0x" + "00" * 20):
        attestations.attestBySig(tuple(made._replace(attester="0x" + "00" * 20)), *good[1:], {"from": stranger})
    attestations.attestBySig(*good, {"from": stranger})


def test_revocation_signed_for_another_uid_is_refused(attestations, person, stranger):
    _, first = attested(attestations, person)
    _, second = attested(attestations, person)
    for args in (
        [second, *signed_revocation(attestations, keyed(1).key, first)[1:]],
        signed_revocation(attestations, keyed(2).key, second),
        signed_revocation(attestations, keyed(1).key, second, chainId=1),
    ):
        with reverts("AttestationBadSignature", person):
            attestations.revokeBySig(*args, {"from": stranger})
    assert attestations.isLive(second)


def malleable(signature):
    """The other signature of the same message: s becomes n - s, v flips."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(signature[32:64], "big")
    return signature[:32] + other.to_bytes(32, "big") + bytes([55 - signature[64]])


def test_signatures_end_with_their_deadline(attestations, person, stranger):
    _, uid = attested(attestations, person)
    deadline = now() + 50
    late = {
        "attestBySig": signed_attestation(attestations, keyed(1).key, statement(person), deadline=deadline),
        "revokeBySig": signed_revocation(attestations, keyed(1).key, uid, deadline=deadline),
    }
    for name, args in late.items():
        next_block_at(max(deadline, now()) + 1)
        with reverts("AttestationSignatureExpired", deadline):
            getattr(attestations, name)(*args, {"from": stranger})
    deadline = now() + 50
    args = signed_attestation(attestations, keyed(1).key, statement(person), deadline=deadline)
    next_block_at(deadline)
    attestations.attestBySig(*args, {"from": stranger})


def test_nonces_of_different_keys_come_in_any_order(attestations, person, stranger):
    second = (7 << 64) | 0
    one, other = statement(person), statement(person)
    attestations.attestBySig(*signed_attestation(attestations, keyed(1).key, other, nonce=second), {"from": stranger})
    attestations.attestBySig(*signed_attestation(attestations, keyed(1).key, one), {"from": stranger})
    assert attestations.nonces(person, 7) == second + 1
    assert attestations.nonces(person) == 1


def test_contract_wallet_attests_and_takes_back_by_its_owners_signature(attestations, stranger, accounts):
    """ERC-1271."""
    wallet = SignerWallet.deploy(accounts[1], {"from": stranger})
    made = statement(wallet)
    with reverts("AttestationBadSignature", wallet):
        attestations.attestBySig(*signed_attestation(attestations, keyed(2).key, made), {"from": stranger})
    attestations.attestBySig(*signed_attestation(attestations, keyed(1).key, made), {"from": stranger})
    uid = uid_of(attestations, made)
    assert attestations.isLive(uid)
    attestations.revokeBySig(*signed_revocation(attestations, keyed(1).key, uid, nonce=1), {"from": stranger})
    assert not attestations.isLive(uid)


def test_contract_without_a_signature_check_signs_nothing(attestations, stranger):
    wallet = ReentrantAccount.deploy({"from": stranger})
    with reverts("AttestationBadSignature", wallet):
        attestations.attestBySig(*signed_attestation(attestations, keyed(1).key, statement(wallet)), {"from": stranger})


# --- random histories

STEPS = 60


class Machine:
    """Each step does the same to the contract and to the model; both must end alike."""

    def __init__(self, contract, accounts, seed, model=Model):
        self.contract = contract
        self.people = [str(account) for account in accounts[1:5]]
        self.keys = {str(accounts[i]): keyed(i).key for i in range(1, 5)}
        self.chance = random.Random(seed)
        self.model = model(str(contract))
        self.made = {}
        self.outcomes = Counter()
        self.start = web3.eth.block_number + 1

    def run(self):
        for index in range(STEPS):
            self.step()
            if index % 10 == 9:
                self.check()
        return self

    def step(self):
        time = now() + self.chance.randrange(1, 60)
        name = self.chance.choice(["attest", "attestBySig", "revoke", "revokeBySig"])
        args, sender, effect = getattr(self, f"draw_{name}")(time)
        ended = both(lambda _: effect(), lambda: getattr(self.contract, name)(*args, {"from": sender}), time)
        self.outcomes[name, ended] += 1

    def draw_attest(self, time):
        made = self.some_statement(time)
        return made.words, made.attester, lambda: self.model.attest(made, time)

    def draw_attestBySig(self, time):
        made = self.some_statement(time)
        nonce = self.some_nonce(made.attester)
        args = signed_attestation(self.contract, self.keys[made.attester], made, nonce)
        return args, self.chance.choice(self.people), lambda: self.model.attest_by_sig(made, nonce, time)

    def draw_revoke(self, time):
        uid, attester = self.some_attestation()
        sender = attester if self.chance.random() < 0.7 else self.chance.choice(self.people)
        return [uid], sender, lambda: self.model.revoke(uid, sender, time)

    def draw_revokeBySig(self, time):
        uid, attester = self.some_attestation()
        nonce = self.some_nonce(attester)
        args = signed_revocation(self.contract, self.keys[attester], uid, nonce)
        return args, self.chance.choice(self.people), lambda: self.model.revoke_by_sig(uid, nonce, time)

    def some_statement(self, time):
        if self.made and self.chance.random() < 0.15:
            return self.chance.choice(list(self.made.values()))
        made = statement(
            self.chance.choice(self.people),
            subject=NONE if self.chance.random() < 0.05 else word(f"work {self.chance.randrange(3)}"),
            ref_uid=self.some_attestation()[0] if self.chance.random() < 0.3 else NONE,
            expires=NEVER if self.chance.random() < 0.5 else time + self.chance.randrange(-5, 500),
        )
        self.made[uid_of(self.contract, made)] = made
        return made

    def some_attestation(self):
        """A uid, mostly of one that was made, and its attester."""
        known = list(self.model.entries)
        if not known or self.chance.random() < 0.1:
            return word("nothing"), self.people[0]
        uid = self.chance.choice(known)
        return uid, self.model.entries[uid].attester

    def some_nonce(self, account):
        return self.model.nonces.get(account, 0) + (self.chance.random() < 0.1)

    def check(self):
        """Every attestation as the model has it; case 60: events alone rebuild it."""
        rebuilt = Model(str(self.contract))
        for name, args, time in logs_of(self.contract, self.start):
            rebuilt.fold(name, args, time)
        assert rebuilt.entries == self.model.entries
        for uid, made in self.made.items():
            live = self.model.is_live(uid, now())
            assert self.contract.isValid(uid, made.schema, made.attester, made.subject) == live
            if uid in self.model.entries:
                one = self.model.entries[uid]
                facts = (one.attester, one.attested_at, one.expires, hexed(one.commitment), one.revoked_at)
                assert plain(self.contract.attestationOf(uid)) == facts


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_attestations_follow_their_model(attestations, accounts, seed, reached):
    """Only the attester revokes; uids are unique; times never change; what was revoked is never valid again."""
    reached.add(Machine(attestations, accounts, seed).run().outcomes)


def test_stateful_histories_of_attestations_got_somewhere(reached):
    reached.demand({("attest", None): 4, ("attestBySig", None): 4, ("revoke", None): 2, ("revokeBySig", None): 2})
    reached.demand({("revoke", "AttestationNotAttester"): 1, ("revoke", "AttestationAlreadyRevoked"): 1})


def run_until_it_differs(attestations, accounts, model):
    for seed in range(4):
        Machine(attestations, accounts, seed, model=model).run()


class RevivingModel(Model):
    """Lets an attestation that was taken back be made again."""

    def attest(self, made, time):
        uid = uid_of(self.registry, made)
        if uid in self.entries and self.entries[uid].revoked_at:
            del self.entries[uid]
        super().attest(made, time)


class CarelessModel(Model):
    """Lets anybody take anything back."""

    def revoke(self, uid, sender, time):
        super().revoke(uid, self.entries[uid].attester if uid in self.entries else sender, time)


@pytest.mark.parametrize("broken", [RevivingModel, CarelessModel])
def test_stateful_comparison_finds_a_planted_bug(attestations, accounts, broken):
    """A model with one rule wrong must not pass: else the comparison shows nothing."""
    with pytest.raises(AssertionError, match="the model with None"):
        run_until_it_differs(attestations, accounts, broken)


# --- gas


def test_gas_of_attestations(attestations, person, stranger):
    """Steady: the attester has signed before. Fresh slots: two an attestation, one a revocation."""
    attested(attestations, person)
    made = statement(person)
    within_budget("AttestationRegistry.attest", attestations.attest(*made.words, {"from": person}))
    uid = uid_of(attestations, made)
    within_budget("AttestationRegistry.revoke", attestations.revoke(uid, {"from": person}))
    key = keyed(1).key
    attestations.attestBySig(*signed_attestation(attestations, key, statement(person)), {"from": stranger})
    made = statement(person)
    args = signed_attestation(attestations, key, made, nonce=1)
    within_budget("AttestationRegistry.attestBySig", attestations.attestBySig(*args, {"from": stranger}))
    args = signed_revocation(attestations, key, uid_of(attestations, made), nonce=2)
    within_budget("AttestationRegistry.revokeBySig", attestations.revokeBySig(*args, {"from": stranger}))


def test_code_fits(attestations):
    """EIP-170."""
    assert len(web3.eth.get_code(attestations.address)) < 24_576
