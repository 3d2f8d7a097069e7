// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title The registry of attestations
 * @notice Says that an account vouched for something about a subject, since when, until when, and whether it took that back.
 * What it vouched for stays off chain: the chain holds a commitment, keccak256(abi.encode(keccak256(payload), salt)) with 32
 * random bytes of salt, so that nothing personal can be guessed from it and erasing payload and salt erases the statement.
 * For the same reason a subject is a pseudonymous id, never an address book's key or a hash of a name.
 */
interface IAttestationRegistry {
    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @param attester who vouches; the signer.
     * @param schema what kind of statement it is.
     * @param subject whom or what it is about, as a pseudonymous id.
     * @param commitment keccak256(abi.encode(keccak256(payload), salt)).
     * @param refUid an earlier attestation that this one refers to; zero for none.
     * @param expires from this time on it isn't valid any more; 0 for never.
     */
    struct AttestationRequest {
        address attester;
        bytes32 schema;
        bytes32 subject;
        bytes32 commitment;
        bytes32 refUid;
        uint48 expires;
    }

    /**
     * @param attester who vouches.
     * @param attestedAt when it was attested; never changes.
     * @param expires from this time on it isn't valid any more; 0 for never.
     * @param commitment what it commits to.
     * @param revokedAt when the attester took it back; 0 if it stands.
     */
    struct Attestation {
        address attester;
        uint48 attestedAt;
        uint48 expires;
        bytes32 commitment;
        uint48 revokedAt;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice An account vouched for something. The subject and the reference are said here alone.
    event Attested(
        bytes32 indexed uid,
        bytes32 indexed schema,
        address indexed attester,
        bytes32 subject,
        bytes32 commitment,
        bytes32 refUid,
        uint48 expires
    );

    /// @notice An attester took its attestation back, for ever. What it was, the uid's Attested says.
    event Revoked(bytes32 indexed uid, address indexed attester);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The attester has made this very attestation before; a new one needs a new salt.
    error AttestationExists(bytes32 uid);
    /// @notice There is no such attestation.
    error AttestationUnknown(bytes32 uid);
    /// @notice The account didn't make this attestation.
    error AttestationNotAttester(bytes32 uid, address account);
    /// @notice It has been taken back already.
    error AttestationAlreadyRevoked(bytes32 uid, uint48 revokedAt);
    /// @notice It would have ended before it began.
    error AttestationExpired(uint48 expires);
    /// @notice Schema, subject or commitment is zero.
    error AttestationEmptyHash();
    /// @notice The signature could be used until that time.
    error AttestationSignatureExpired(uint48 deadline);
    /// @notice The signature isn't the attester's, or was given for something else.
    error AttestationBadSignature(address attester);

    // ----------------------------------------------------------------------------------------------------- attesting

    /**
     * @notice Vouches for something as the caller.
     * @dev Reverts with AttestationEmptyHash, AttestationExpired, AttestationUnknown (of the reference), AttestationExists.
     * @param schema what kind of statement it is; the constants name those that this platform reads, others are free.
     * @param subject whom or what it is about, as a pseudonymous id.
     * @param commitment keccak256(abi.encode(keccak256(payload), salt)).
     * @param refUid an earlier attestation that this one refers to; zero for none.
     * @param expires from this time on it isn't valid any more; 0 for never.
     * @return The attestation's uid, which `uidOf` tells beforehand.
     */
    function attest(
        bytes32 schema,
        bytes32 subject,
        bytes32 commitment,
        bytes32 refUid,
        uint48 expires
    ) external returns (bytes32);

    /**
     * @notice Vouches for something as the account that signed it (EIP-712; contract wallets by ERC-1271).
     * @dev Reverts as `attest` does, and with AttestationSignatureExpired, AttestationBadSignature, InvalidAccountNonce.
     * @param request what is signed.
     * @param nonce the attester's next nonce under the key of its choice (see nonces(address,uint192)).
     * @param deadline the signature is void after this time.
     */
    function attestBySig(
        AttestationRequest calldata request,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external returns (bytes32);

    /**
     * @notice Takes an attestation of the caller back, for ever.
     * @dev Reverts with AttestationUnknown, AttestationNotAttester, AttestationAlreadyRevoked. An expired one can be taken back.
     */
    function revoke(bytes32 uid) external;

    /**
     * @notice Takes an attestation back for the attester that signed it (EIP-712; contract wallets by ERC-1271).
     * @dev Reverts with AttestationUnknown, AttestationSignatureExpired, AttestationBadSignature, InvalidAccountNonce,
     * AttestationAlreadyRevoked.
     */
    function revokeBySig(bytes32 uid, uint256 nonce, uint48 deadline, bytes calldata signature) external;

    // ---------------------------------------------------------------------------------------------------------- views

    /**
     * @notice The uid of an attestation, made or not: keccak256(abi.encode(chainid, registry, attester, schema, subject,
     * commitment, expires)). The time isn't part of it, so that whoever relies on one can name it before it is mined.
     */
    function uidOf(
        address attester,
        bytes32 schema,
        bytes32 subject,
        bytes32 commitment,
        uint48 expires
    ) external view returns (bytes32);

    /// @notice An attestation. Reverts with AttestationUnknown.
    function attestationOf(bytes32 uid) external view returns (Attestation memory);

    /// @notice Whether an attestation was made, has not been taken back and has not ended.
    function isLive(bytes32 uid) external view returns (bool);

    /**
     * @notice Whether an attestation is live and is of this schema, by this attester, about this subject.
     * @dev What every contract must ask that relies on one: a uid alone says nothing about what it vouches for.
     */
    function isValid(
        bytes32 uid,
        bytes32 schema,
        address attester,
        bytes32 subject
    ) external view returns (bool);

    /**
     * @notice Whether an attestation, live or not, commits to this payload with this salt. A zero salt opens nothing.
     * @dev For eth_call on a node of one's own: whoever runs the node sees the payload. The same hash can be computed offline.
     */
    function verifyOpening(bytes32 uid, bytes calldata payload, bytes32 salt) external view returns (bool);
}
