"""WorkRegistry: registering works, commitments, metadata, labels, standing, royalties."""

import hashlib
import json
from pathlib import Path

import pytest
from brownie import (
    FaultyWallet,
    MockUSD,
    RawCidHarness,
    RevenueLedger,
    RoyaltyReceiver,
    SignerWallet,
    Stingy,
    WorkRegistry,
    web3,
)
from conftest import ROYALTY_BPS
from eth_utils import keccak
from kit import next_block_at, now, one_block, reverts
from money import (
    ACTIVE,
    DIGEST,
    DISPUTED,
    NATIVE,
    NONE,
    REVOKED,
    SUSPENDED,
    SUSPENDED_DISPUTED,
    WEEK,
    Leaf,
    counters,
    grown,
    hexed,
    keyed,
    node,
    pay,
    placed,
    plain,
    reassign,
    withdraw,
)
from works import (
    AI_ASSISTED,
    AI_GENERATED,
    CID,
    HUMAN,
    REGISTER,
    STORY,
    UNSPECIFIED,
    commitment,
    content,
    licensed,
    params,
    registered,
    signed_registration,
)

pytestmark = pytest.mark.feature("O1", via="chain")

KUBO_CIDS = Path(__file__).resolve().parents[1] / "backend/content/data/kubo-cids.json"


@pytest.fixture(scope="module")
def creator(accounts):
    return accounts[1]


# --- deployment


def test_constructor_checks_that_the_ledger_serves_it(authority, admin, books, registry, standing, forwarder):
    with reverts("WorkLedgerMismatch", registry):
        WorkRegistry.deploy(authority, books, standing, forwarder, 0, "", {"from": admin})
    assert registry.ledger() == books
    assert books.registry() == registry


def test_constructor_refuses_a_high_royalty(authority, admin, treasury, forwarder):
    predicted = admin.get_deployment_address(admin.nonce + 1)
    books = RevenueLedger.deploy(authority, predicted, 0, [(treasury, 1)], DIGEST, {"from": admin})
    with reverts("WorkRoyaltyTooHigh", 1_001):
        WorkRegistry.deploy(authority, books, admin, forwarder, 1_001, "", {"from": admin})


# --- registering


def test_register_records_the_work_and_opens_its_accounts(registry, books, creator):
    split = grown([(creator, 70), (registry, 30)])
    given = params(creator, tree=split, aiLabel=AI_ASSISTED)
    tx = registry.register(given, {"from": creator})
    assert tx.return_value == 1 == registry.workCount()
    assert dict(tx.events["WorkRegistered"]) == {
        "workId": 1,
        "owner": creator,
        "contentHash": hexed(given[1]),
        "kind": STORY,
        "aiLabel": AI_ASSISTED,
        "licenceId": 0,
        "cidDigest": hexed(CID),
        "committedAt": tx.timestamp,
    }
    assert dict(tx.events["SplitActivated"]) == {
        "workId": 1,
        "version": 1,
        "root": hexed(node(split).hash),
        "totalWeight": 100,
        "treeDigest": hexed(DIGEST),
    }
    assert registry.ownerOf(1) == creator
    assert registry.idOf(given[1]) == 1
    facts = (hexed(given[1]), hexed(CID), tx.timestamp, tx.timestamp, 0, STORY, AI_ASSISTED, ACTIVE)
    assert plain(registry.workOf(1)) == facts
    assert plain(registry.parentsOf(1)) == ()
    assert plain(books.workOf(1))[2] == 1


def test_registered_work_earns_and_pays_out(registry, books, creator, payer):
    work = registered(registry, creator)
    pay(books, work, 10_000, payer)
    assert withdraw(books, work, 1, next(placed(Leaf(str(creator), 1_000_000))), payer) == 9_750


def test_register_is_for_the_owner_only(registry, creator, stranger):
    with reverts("WorkInvalidSigner", creator):
        registry.register(params(creator), {"from": stranger})


@pytest.mark.feature("P2", via="chain")
def test_content_is_registered_once(registry, creator, stranger):
    first = registered(registry, creator, contentHash=content(1))
    with reverts("WorkAlreadyRegistered", content(1), first):
        registry.register(params(stranger, contentHash=content(1)), {"from": stranger})
    registered(registry, stranger, contentHash=content(2))


def test_register_refuses_empty_hashes_and_unknown_labels_and_licences(registry, creator):
    for wrong in ({"contentHash": NONE}, {"cidDigest": NONE}):
        with reverts("WorkEmptyHash"):
            registry.register(params(creator, **wrong), {"from": creator})
    with reverts("WorkLabelInvalid", 4):
        registry.register(params(creator, aiLabel=4), {"from": creator})
    with reverts("WorkLicenceUnknown", 1):
        registry.register(params(creator, licenceId=1), {"from": creator})


def test_register_refuses_a_split_that_nobody_can_claim_from(registry, creator):
    with reverts("RevenueInvalidProof"):
        registry.register(params(creator, splitTotal=999_999), {"from": creator})
    assert registry.workCount() == 0


def test_unknown_works_and_licences_are_refused_everywhere(registry, creator, admin, stranger):
    sender = {"from": creator}
    for call, args in (
        (registry.workOf, (9,)),
        (registry.parentsOf, (9,)),
        (registry.setMetadata, (9, CID)),
        (registry.setAiLabel, (9, 3, NONE)),
        (registry.approveDerivative, (9, stranger, NONE)),
        (registry.deployRoyaltyReceiver, (9,)),
    ):
        with reverts("WorkUnknown", 9):
            call(*args, sender)
    for call, args in ((registry.setStatus, (9, 2, NONE)), (registry.revoke, (9, NONE))):
        with reverts("WorkUnknown", 9):
            call(*args, {"from": admin})
    for licence_id in (0, 1):
        with reverts("WorkLicenceUnknown", licence_id):
            registry.licenceOf(licence_id)
    for call in (registry.tokenURI, registry.ownerOf):
        with reverts("ERC721NonexistentToken", 9):
            call(9)
    with reverts("ERC721NonexistentToken", 9):
        registry.royaltyInfo(9, 100)


# --- commitments


def test_commitment_dates_the_work(registry, creator, stranger):
    salt = b"\3" * 32
    committed = registry.commit(commitment(registry, creator, content(7), salt), {"from": creator})
    assert dict(committed.events["WorkCommitted"])["account"] == creator
    next_block_at(now() + WEEK)
    tx = registry.register(params(creator, contentHash=content(7), salt=salt), {"from": creator})
    assert tx.events["WorkRegistered"]["committedAt"] == committed.timestamp
    assert plain(registry.workOf(1))[3] == committed.timestamp
    # Without the salt, or by another, there is no commitment to show.
    tx = registry.register(params(stranger, contentHash=content(8), salt=salt), {"from": stranger})
    assert tx.events["WorkRegistered"]["committedAt"] == tx.timestamp


def test_first_commitment_counts(registry, creator, stranger):
    mark = commitment(registry, creator, content(7), NONE)
    first = registry.commit(mark, {"from": creator})
    again = registry.commit(mark, {"from": stranger})
    assert len(again.events) == 0
    assert registry.committedAt(mark) == first.timestamp


def test_commitment_of_the_same_second_is_refused(registry, creator):
    """Someone who sees a registration on its way could still commit in its block."""
    given = params(creator, contentHash=content(7), salt=DIGEST)
    mark = commitment(registry, creator, content(7), DIGEST)
    at = now() + 10
    with one_block(at):
        options = {"from": creator, "required_confs": 0, "gas_limit": 2_000_000, "allow_revert": True}
        registry.commit(mark, options)
        late = registry.register(given, options)
    assert registry.committedAt(mark) == at
    assert int(web3.eth.get_transaction_receipt(late.txid)["status"]) == 0
    with reverts("WorkCommitTooYoung", at):
        registry.register.call(given, {"from": creator})
    next_block_at(at + 1)
    registry.register(given, {"from": creator})


# --- by signature


def test_register_typehash_is_that_of_the_signed_struct(registry):
    text = "Register(" + ",".join(f"{kind} {name}" for kind, name in REGISTER) + ")"
    assert registry.REGISTER_TYPEHASH() == hexed(keccak(text=text))


def test_register_by_signature_registers_for_the_signer(registry, creator, stranger):
    terms = licensed(registry, creator)
    first = registered(registry, creator, licenceId=terms)
    given = params(creator, parents=[first], shares=[1_500], licenceId=terms)
    args = signed_registration(registry, keyed(1).key, given)
    tx = registry.registerBySig(*args, {"from": stranger})
    assert tx.return_value == 2
    assert registry.ownerOf(2) == creator
    assert plain(registry.parentsOf(2)) == (first,)
    with reverts("InvalidAccountNonce", creator, 1):
        registry.registerBySig(*args, {"from": stranger})


def test_signature_for_anything_else_is_refused(registry, creator, stranger):
    """Case 23: wrong chain, wrong contract, wrong signer, changed parameters, malleable s, expired."""
    given = params(creator, contentHash=content(7))
    key = keyed(1).key
    good = signed_registration(registry, key, given)
    wrong = [
        signed_registration(registry, key, given, chain_id=1),
        signed_registration(registry, key, given, contract=stranger),
        signed_registration(registry, keyed(2).key, given),
        [*good[:3], b""],
        [*good[:1], 1, *good[2:]],
        [*good[:2], 2**48 - 2, good[3]],
        [*good[:3], malleable(good[3])],
    ]
    for index in (1, 2, 3, 4, 5, 8, 9, 10, 13):
        changed = [*given]
        changed[index] = content(99) if isinstance(changed[index], bytes) else changed[index] + 1
        wrong.append([changed, *good[1:]])
    wrong += [
        [[*given[:6], [1], [1_000], *given[8:]], *good[1:]],
        [[*given[:12], [DIGEST], given[13]], *good[1:]],
    ]
    for args in wrong:
        with reverts("WorkInvalidSigner", creator):
            registry.registerBySig(*args, {"from": stranger})
    registry.registerBySig(*good, {"from": stranger})


def malleable(signature):
    """The other signature of the same message: s becomes n - s, v flips."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(signature[32:64], "big")
    return signature[:32] + other.to_bytes(32, "big") + bytes([55 - signature[64]])


def test_signature_expires(registry, creator, stranger):
    deadline = now() + 50
    args = signed_registration(registry, keyed(1).key, params(creator), deadline=deadline)
    next_block_at(deadline + 1)
    with reverts("WorkSignatureExpired", deadline):
        registry.registerBySig(*args, {"from": stranger})


def test_contract_wallet_registers_by_its_owners_signature(registry, creator, stranger):
    """ERC-1271."""
    wallet = SignerWallet.deploy(creator, {"from": stranger})
    given = params(wallet)
    with reverts("WorkInvalidSigner", wallet):
        registry.registerBySig(*signed_registration(registry, keyed(2).key, given), {"from": stranger})
    registry.registerBySig(*signed_registration(registry, keyed(1).key, given), {"from": stranger})
    assert registry.ownerOf(1) == wallet


def test_case_23_contract_wallets_that_check_wrongly_sign_nothing(registry, stranger):
    """ERC-1271 that answers something else, nothing, reverts, or eats all gas: each is no signature."""
    for fault in range(4):
        wallet = FaultyWallet.deploy(fault, {"from": stranger})
        args = signed_registration(registry, keyed(1).key, params(wallet))
        with reverts("WorkInvalidSigner", wallet):
            registry.registerBySig.call(*args, {"from": stranger, "gas_limit": 3_000_000})
    assert registry.workCount() == 0


# --- metadata


@pytest.mark.feature("P2", via="chain")
def test_token_uri_is_the_raw_blocks_address(registry, creator):
    """CIDv1, raw, sha2-256 of "hello\\n", as every IPFS tool prints it."""
    assert hashlib.sha256(b"hello\n").digest() == CID
    registered(registry, creator)
    assert registry.tokenURI(1) == "ipfs://bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"


def test_uri_equals_kubos_for_every_single_raw_block(admin):
    """Case 69: Kubo's own CIDs of files that fit into one block, from their sha256 alone."""
    harness = RawCidHarness.deploy({"from": admin})
    rows = [row for row in json.loads(KUBO_CIDS.read_text())["rows"] if row["cid"].startswith("bafkrei")]
    assert len(rows) >= 3
    for row in rows:
        assert harness.uri(bytes.fromhex(row["sha256"])) == f"ipfs://{row['cid']}"


def test_owner_replaces_metadata(registry, creator, stranger):
    work = registered(registry, creator)
    tx = registry.setMetadata(work, DIGEST, {"from": creator})
    assert dict(tx.events["MetadataChanged"]) == {"workId": work, "cidDigest": hexed(DIGEST)}
    assert dict(tx.events["MetadataUpdate"]) == {"_tokenId": work}
    assert plain(registry.workOf(work))[1] == hexed(DIGEST)
    with reverts("WorkNotOwner", work, stranger):
        registry.setMetadata(work, DIGEST, {"from": stranger})
    with reverts("WorkEmptyHash"):
        registry.setMetadata(work, NONE, {"from": creator})


def test_metadata_of_a_work_that_is_not_active_stays(registry, creator, admin):
    work = registered(registry, creator)
    registry.setStatus(work, SUSPENDED, NONE, {"from": admin})
    with reverts("WorkNotActive", work, SUSPENDED):
        registry.setMetadata(work, DIGEST, {"from": creator})


def test_registrys_own_metadata(registry, admin, stranger):
    assert registry.contractURI() == "ipfs://registry"
    tx = registry.setContractURI("ipfs://other", {"from": admin})
    assert "ContractURIUpdated" in tx.events
    assert registry.contractURI() == "ipfs://other"


def test_interfaces(registry):
    for interface in ("0x80ac58cd", "0x5b5e139f", "0x2a55205a", "0x49064906", "0x01ffc9a7"):
        assert registry.supportsInterface(interface)
    assert not registry.supportsInterface("0xffffffff")
    assert (registry.name(), registry.symbol()) == ("Troupe Works", "WORK")


# --- the AI label


@pytest.mark.feature("P5", via="chain")
def test_owner_can_only_say_more_about_models(registry, creator, stranger):
    work = registered(registry, creator, aiLabel=UNSPECIFIED)
    for label in (HUMAN, AI_ASSISTED, AI_GENERATED):
        tx = registry.setAiLabel(work, label, DIGEST, {"from": creator})
        assert dict(tx.events["AiLabelChanged"]) == {"workId": work, "label": label, "attestationUid": hexed(DIGEST)}
    for label in (UNSPECIFIED, HUMAN, AI_ASSISTED, AI_GENERATED, 4):
        with reverts("WorkLabelInvalid", label):
            registry.setAiLabel(work, label, NONE, {"from": creator})
    with reverts("WorkNotOwner", work, stranger):
        registry.setAiLabel(work, AI_GENERATED, NONE, {"from": stranger})


@pytest.mark.feature("P5", via="chain")
def test_moderator_corrects_the_label_either_way(registry, creator, admin):
    work = registered(registry, creator, aiLabel=AI_GENERATED)
    registry.correctAiLabel(work, HUMAN, DIGEST, {"from": admin})
    assert plain(registry.workOf(work))[6] == HUMAN
    for label in (HUMAN, 4):
        with reverts("WorkLabelInvalid", label):
            registry.correctAiLabel(work, label, DIGEST, {"from": admin})


# --- standing


def test_status_is_pushed_to_the_ledger(registry, books, creator, admin, payer):
    """Case 15, through the registry."""
    work = registered(registry, creator)
    for status in (SUSPENDED, ACTIVE):
        tx = registry.setStatus(work, status, DIGEST, {"from": admin})
        assert dict(tx.events["WorkStatusChanged"]) == {
            "workId": work,
            "status": status,
            "reasonHash": hexed(DIGEST),
            "actor": admin,
        }
        assert dict(tx.events["StatusPushed"]) == {"workId": work, "status": status}
        assert plain(books.workOf(work))[3] == status
    registry.revoke(work, DIGEST, {"from": admin})
    with reverts("RevenueWorkStatus", work, REVOKED):
        pay(books, work, 5, payer)


def test_revoked_is_final(registry, creator, admin):
    work = registered(registry, creator)
    registry.revoke(work, NONE, {"from": admin})
    for status in (ACTIVE, SUSPENDED):
        with reverts("WorkNotActive", work, REVOKED):
            registry.setStatus(work, status, NONE, {"from": admin})
    with reverts("WorkNotActive", work, REVOKED):
        registry.revoke(work, NONE, {"from": admin})


def test_set_status_neither_revokes_nor_disputes_nor_repeats(registry, creator, admin):
    """Case 79 for a role: who has all of them can't open a dispute."""
    work = registered(registry, creator)
    for status in (REVOKED, DISPUTED, SUSPENDED_DISPUTED):
        with reverts("WorkStatusInvalid", status):
            registry.setStatus(work, status, NONE, {"from": admin})
    with reverts("WorkStatusInvalid", ACTIVE):
        registry.setStatus(work, ACTIVE, NONE, {"from": admin})


def test_content_of_a_revoked_work_can_be_registered_anew(registry, creator, admin, stranger):
    thief = registered(registry, stranger, contentHash=content(7))
    registry.revoke(thief, NONE, {"from": admin})
    assert registry.idOf(content(7)) == 0
    author = registered(registry, creator, contentHash=content(7))
    assert registry.idOf(content(7)) == author
    assert registry.ownerOf(author) == creator


# --- who owns, who earns


def test_selling_the_token_moves_no_revenue(registry, books, creator, stranger, payer):
    """The payees are the split's holders; the new owner gets the right to the metadata."""
    work = registered(registry, creator)
    registry.transferFrom(creator, stranger, work, {"from": creator})
    pay(books, work, 10_000, payer)
    leaf = next(placed(Leaf(str(creator), 1_000_000)))
    assert withdraw(books, work, 1, leaf, payer) == 9_750
    with reverts("WorkNotOwner", work, creator):
        registry.setMetadata(work, DIGEST, {"from": creator})
    registry.setMetadata(work, DIGEST, {"from": stranger})
    with reverts("RevenueUnauthorized", stranger):
        books.reassign((work, str(creator), 1_000_000, 0, DIGEST, DIGEST, 2**48 - 1), [], [], {"from": stranger})


def test_holder_hands_a_share_to_a_collaborator(registry, books, creator, stranger, payer):
    work = registered(registry, creator)
    next_block_at(now() + WEEK)
    leaf = next(placed(Leaf(str(creator), 1_000_000)))
    shared = grown([(creator, 600_000), (stranger, 400_000)])
    reassign(books, work, leaf, shared)
    pay(books, work, 10_000, payer)
    assert [withdraw(books, work, 2, one, payer) for one in placed(shared)] == [5_850, 3_900]


# --- governance


def test_restricted_functions_refuse_strangers(registry, creator, stranger):
    """Case 49, the registry's part: the work's owner is a stranger here too."""
    work = registered(registry, creator)
    calls = {
        "setStatus": (work, 2, NONE),
        "revoke": (work, NONE),
        "correctAiLabel": (work, 2, NONE),
        "setRoyaltyBps": (1,),
        "setContractURI": ("x",),
        "signal": (NONE,),
    }
    for name, args in calls.items():
        for sender in (stranger, creator):
            with reverts("AccessManagedUnauthorized", sender):
                getattr(registry, name)(*args, {"from": sender})


def test_every_state_changing_function_is_accounted_for():
    """A function that is added must be named here: open to all, an owner's, ERC-721's, or under the authority."""
    to_all = {"commit", "createLicence", "register", "registerBySig", "deployRoyaltyReceiver"}
    owners = {"approveDerivative", "setMetadata", "setAiLabel"}
    erc721 = {"approve", "setApprovalForAll", "transferFrom", "safeTransferFrom"}
    restricted = {"setStatus", "revoke", "correctAiLabel", "setRoyaltyBps", "setContractURI", "signal", "setAuthority"}
    standings = {"setStanding"}
    found = {
        entry["name"]
        for entry in WorkRegistry.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert found == to_all | owners | erc721 | restricted | standings


def test_signal_is_an_event_and_nothing_else(registry, admin):
    tx = registry.signal(DIGEST, {"from": admin})
    assert [dict(event) for event in tx.events["Signal"]] == [{"topic": hexed(DIGEST)}]


# --- royalties of marketplaces


def test_royalty_receiver_is_predicted_and_deployed_once(registry, books, creator, stranger):
    work = registered(registry, creator)
    predicted = registry.royaltyReceiver(work)
    assert plain(registry.royaltyInfo(work, 10_000)) == (predicted, ROYALTY_BPS)
    tx = registry.deployRoyaltyReceiver(work, {"from": stranger})
    assert dict(tx.events["RoyaltyReceiverDeployed"]) == {"workId": work, "receiver": predicted}
    receiver = RoyaltyReceiver.at(predicted)
    assert (receiver.ledger(), receiver.workId()) == (books, work)
    again = registry.deployRoyaltyReceiver(work, {"from": stranger})
    assert len(again.events) == 0
    assert registry.royaltyReceiver(2) != predicted


def test_transfer_with_2300_gas_reaches_the_receiver_and_is_swept(registry, books, creator, stranger, payer):
    """Case 85; coins sent before the receiver exists are swept too."""
    work = registered(registry, creator)
    receiver = registry.royaltyReceiver(work)
    payer.transfer(receiver, 1_000)
    registry.deployRoyaltyReceiver(work, {"from": stranger})
    Stingy.deploy({"from": payer}).pay(receiver, {"from": payer, "value": 9_000})
    tx = RoyaltyReceiver.at(receiver).sweep(NATIVE, {"from": stranger})
    assert dict(tx.events["PaymentReceived"]) == {
        "workId": work,
        "token": NATIVE,
        "payer": receiver,
        "amount": 10_000,
        "fee": 250,
        "kind": 4,
        "ref": hexed(NONE),
    }
    with reverts("RevenueZeroAmount"):
        RoyaltyReceiver.at(receiver).sweep(NATIVE, {"from": stranger})


def test_tokens_are_swept_once_they_are_allowed(registry, books, creator, admin, stranger):
    work = registered(registry, creator)
    receiver = RoyaltyReceiver.at(registry.deployRoyaltyReceiver(work, {"from": stranger}).return_value)
    token = MockUSD.deploy({"from": admin})
    token.mint(receiver, 10_000, {"from": admin})
    with reverts("RevenueTokenNotAllowed", token):
        receiver.sweep(token, {"from": stranger})
    books.setTokenAllowed(token, True, {"from": admin})
    receiver.sweep(token, {"from": stranger})
    assert counters(books, work, token) == (9_750, 0, 1)


def test_royalties_of_a_revoked_work_go_to_the_platform_and_earlier_ones_to_its_holders(
    registry, books, creator, admin, stranger, payer
):
    """Nothing is stuck: what nobody swept before the revocation took effect is the platform's, in coins and tokens."""
    work = registered(registry, creator)
    token = MockUSD.deploy({"from": admin})
    books.setTokenAllowed(token, True, {"from": admin})
    receiver = RoyaltyReceiver.at(registry.deployRoyaltyReceiver(work, {"from": stranger}).return_value)
    payer.transfer(receiver, 10_000)
    receiver.sweep(NATIVE, {"from": stranger})
    registry.revoke(work, NONE, {"from": admin})
    payer.transfer(receiver, 4_000)
    token.mint(receiver, 700, {"from": admin})
    tx = receiver.sweep(NATIVE, {"from": stranger})
    assert dict(tx.events["PaymentReceived"]) == {
        "workId": 0,
        "token": NATIVE,
        "payer": receiver,
        "amount": 4_000,
        "fee": 0,
        "kind": 4,
        "ref": hexed(work.to_bytes(32, "big")),
    }
    receiver.sweep(token, {"from": stranger})
    assert (receiver.balance(), token.balanceOf(receiver)) == (0, 0)
    assert (counters(books, 0)[0], counters(books, 0, token)[0]) == (250 + 4_000, 700)
    assert withdraw(books, work, 1, next(placed(Leaf(str(creator), 1_000_000))), payer) == 9_750


def test_royalty_is_governed_and_bounded(registry, creator, admin):
    work = registered(registry, creator)
    tx = registry.setRoyaltyBps(1_000, {"from": admin})
    assert dict(tx.events["RoyaltyChanged"]) == {"oldBps": ROYALTY_BPS, "newBps": 1_000}
    assert plain(registry.royaltyInfo(work, 999))[1] == 99
    assert registry.royaltyBps() == 1_000
    with reverts("WorkRoyaltyTooHigh", 1_001):
        registry.setRoyaltyBps(1_001, {"from": admin})
