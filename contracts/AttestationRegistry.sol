// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IAttestationRegistry} from "./interfaces/IAttestationRegistry.sol";

/**
 * @title AttestationRegistry
 * @dev Nobody administers it: no role can attest for another, take back another's attestation or bring one back.
 * @custom:security-contact see SECURITY.md
 */
contract AttestationRegistry is IAttestationRegistry, EIP712, NoncesKeyed {
    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice Schema: a person lets its likeness be used in the subject.
    bytes32 public constant LIKENESS_CONSENT = keccak256("LIKENESS_CONSENT");

    /// @notice Schema: a person lets its voice be used in the subject.
    bytes32 public constant VOICE_CONSENT = keccak256("VOICE_CONSENT");

    /// @notice Schema: a person lets its data be used for a purpose.
    bytes32 public constant DATA_CONSENT = keccak256("DATA_CONSENT");

    /// @notice Schema: somebody checked who made the subject, or that it was published.
    bytes32 public constant CONTENT_VERIFIED = keccak256("CONTENT_VERIFIED");

    /// @notice Schema: somebody checked how much of the subject a model made.
    bytes32 public constant AI_LABEL = keccak256("AI_LABEL");

    /// @notice Schema: an owner of rights grants a use of the subject.
    bytes32 public constant LICENCE_GRANT = keccak256("LICENCE_GRANT");

    /// @notice Schema: somebody checked who is behind the subject.
    bytes32 public constant IDENTITY = keccak256("IDENTITY");

    /// @notice EIP-712 type of a signed attestation.
    bytes32 public constant ATTEST_TYPEHASH =
        keccak256(
            "Attest(address attester,bytes32 schema,bytes32 subject,bytes32 commitment,bytes32 refUid,uint48 expires,uint256 nonce,uint48 deadline)"
        );

    /// @notice EIP-712 type of a signed revocation.
    bytes32 public constant REVOKE_TYPEHASH = keccak256("Revoke(bytes32 uid,uint256 nonce,uint48 deadline)");

    // ------------------------------------------------------------------------------------------------------- storage

    /// @dev Three slots, the last of which is written by a revocation alone: who, since when and until when; the
    /// commitment; the end.
    mapping(bytes32 uid => Attestation) private _attestations;

    // --------------------------------------------------------------------------------------------------- construction

    constructor() EIP712("Troupe AttestationRegistry", VERSION) {}

    // ------------------------------------------------------------------------------------------------------ attesting

    /// @inheritdoc IAttestationRegistry
    function attest(
        bytes32 schema,
        bytes32 subject,
        bytes32 commitment,
        bytes32 refUid,
        uint48 expires
    ) external override returns (bytes32) {
        return
            _attest(
                AttestationRequest({
                    attester: msg.sender,
                    schema: schema,
                    subject: subject,
                    commitment: commitment,
                    refUid: refUid,
                    expires: expires
                })
            );
    }

    /// @inheritdoc IAttestationRegistry
    function attestBySig(
        AttestationRequest calldata request,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(ATTEST_TYPEHASH, request, nonce, deadline));
        _useSignature(request.attester, structHash, nonce, deadline, signature);
        return _attest(request);
    }

    /// @inheritdoc IAttestationRegistry
    function revoke(bytes32 uid) external override {
        Attestation storage attestation = _known(uid);
        if (attestation.attester != msg.sender) revert AttestationNotAttester(uid, msg.sender);
        _revoke(uid, attestation);
    }

    /// @inheritdoc IAttestationRegistry
    function revokeBySig(
        bytes32 uid,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override {
        Attestation storage attestation = _known(uid);
        bytes32 structHash = keccak256(abi.encode(REVOKE_TYPEHASH, uid, nonce, deadline));
        _useSignature(attestation.attester, structHash, nonce, deadline, signature);
        _revoke(uid, attestation);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IAttestationRegistry
    function uidOf(
        address attester,
        bytes32 schema,
        bytes32 subject,
        bytes32 commitment,
        uint48 expires
    ) public view override returns (bytes32) {
        return
            keccak256(abi.encode(block.chainid, address(this), attester, schema, subject, commitment, expires));
    }

    /// @inheritdoc IAttestationRegistry
    function attestationOf(bytes32 uid) external view override returns (Attestation memory) {
        return _known(uid);
    }

    /// @inheritdoc IAttestationRegistry
    function isLive(bytes32 uid) public view override returns (bool) {
        Attestation storage attestation = _attestations[uid];
        return
            attestation.attestedAt != 0 &&
            (attestation.expires == 0 || block.timestamp < attestation.expires) &&
            attestation.revokedAt == 0;
    }

    /// @inheritdoc IAttestationRegistry
    function isValid(
        bytes32 uid,
        bytes32 schema,
        address attester,
        bytes32 subject
    ) external view override returns (bool) {
        // Schema and subject aren't stored: the uid commits to them.
        Attestation storage attestation = _attestations[uid];
        return isLive(uid) && uid == uidOf(attester, schema, subject, attestation.commitment, attestation.expires);
    }

    /// @inheritdoc IAttestationRegistry
    function verifyOpening(bytes32 uid, bytes calldata payload, bytes32 salt) external view override returns (bool) {
        return salt != 0 && keccak256(abi.encode(keccak256(payload), salt)) == _attestations[uid].commitment;
    }

    // ------------------------------------------------------------------------------------------------------ internals

    function _attest(AttestationRequest memory request) private returns (bytes32 uid) {
        if (request.schema == 0 || request.subject == 0 || request.commitment == 0) revert AttestationEmptyHash();
        if (request.expires != 0 && request.expires <= block.timestamp) revert AttestationExpired(request.expires);
        if (request.refUid != 0) _known(request.refUid);
        uid = uidOf(request.attester, request.schema, request.subject, request.commitment, request.expires);
        Attestation storage attestation = _attestations[uid];
        if (attestation.attestedAt != 0) revert AttestationExists(uid);

        attestation.attester = request.attester;
        attestation.attestedAt = uint48(block.timestamp);
        attestation.expires = request.expires;
        attestation.commitment = request.commitment;
        emit Attested({
            uid: uid,
            schema: request.schema,
            attester: request.attester,
            subject: request.subject,
            commitment: request.commitment,
            refUid: request.refUid,
            expires: request.expires
        });
    }

    function _revoke(bytes32 uid, Attestation storage attestation) private {
        if (attestation.revokedAt != 0) revert AttestationAlreadyRevoked(uid, attestation.revokedAt);
        attestation.revokedAt = uint48(block.timestamp);
        emit Revoked(uid, attestation.attester);
    }

    function _known(bytes32 uid) private view returns (Attestation storage attestation) {
        attestation = _attestations[uid];
        if (attestation.attestedAt == 0) revert AttestationUnknown(uid);
    }

    /// @dev Reverts unless the attester signed this; the signature can't be used again.
    function _useSignature(
        address attester,
        bytes32 structHash,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) private {
        if (block.timestamp > deadline) revert AttestationSignatureExpired(deadline);
        bytes32 digest = _hashTypedDataV4(structHash);
        if (!SignatureChecker.isValidSignatureNowCalldata(attester, digest, signature)) {
            revert AttestationBadSignature(attester);
        }
        _useCheckedNonce(attester, nonce);
    }
}
