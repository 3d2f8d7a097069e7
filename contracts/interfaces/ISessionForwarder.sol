// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title The forwarder of signed requests, with session keys
 * @notice An account signs a request, anybody submits it and pays the gas; the target, which must trust this forwarder
 * (ERC-2771), sees the account as its caller. An account can also let a key sign such requests for it: for functions that it
 * names, up to an amount of native coin, until a time, and revocably.
 *
 * @dev What an account signs is OpenZeppelin's ForwardRequest: (from, to, value, gas, nonce, deadline, data), where the nonce
 * is the account's. The signature of a request is
 * - the account's own 65 bytes; or
 * - a session key's 65 bytes over the same request, the key (20 bytes), and the nodes of the scope's proof (32 bytes each).
 * Keys are plain key pairs (ECDSA). The account may be a contract wallet: it grants by a call or by ERC-1271.
 *
 * A scope is the root of a Merkle tree (OpenZeppelin's, pairs sorted) with a leaf
 * keccak256(keccak256(abi.encode(target, selector))) for each function.
 *
 * What no session key reaches: contracts that don't trust this forwarder, such as the ledger and tokens; functions by which
 * tokens are moved or approved, whatever the scope says; this forwarder's own functions.
 */
interface ISessionForwarder {
    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @param key whose signatures count for the account.
     * @param scopeRoot root of the functions that it may call.
     * @param valueLimit native coin that its requests may carry altogether, in wei.
     * @param expires from this time on it may do nothing.
     */
    struct Session {
        address key;
        bytes32 scopeRoot;
        uint128 valueLimit;
        uint48 expires;
    }

    /**
     * @param expires from this time on the key may do nothing; 0 without a grant.
     * @param valueLeft native coin that its requests may still carry, in wei.
     * @param generation the account's generation when it was granted; it holds in that one only.
     * @param scopeRoot root of the functions that the key may call.
     */
    struct Grant {
        uint48 expires;
        uint128 valueLeft;
        uint64 generation;
        bytes32 scopeRoot;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice An account let a key act for it. What it had granted that key before is replaced.
    event SessionGranted(
        address indexed account,
        address indexed key,
        bytes32 scopeRoot,
        uint128 valueLimit,
        uint48 expires
    );

    /// @notice A key's request carried native coin; this much is left.
    event SessionValueSpent(address indexed account, address indexed key, uint256 value, uint128 valueLeft);

    /// @notice An account took a key's grant back.
    event SessionRevoked(address indexed account, address indexed key);

    /// @notice An account took all grants back, and all signed grants that were not submitted.
    event AllSessionsRevoked(address indexed account, uint64 generation);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The account has not let this key act for it, or took it back.
    error SessionUnknown(address account, address key);
    /// @notice The grant is over, or would be before it begins.
    error SessionExpired(uint48 expires);
    /// @notice The grant doesn't name this function, or tokens are moved or approved by it.
    error SessionScope(address target, bytes4 selector);
    /// @notice The request carries more than the grant has left.
    error SessionValueExceeded(uint256 value, uint128 valueLeft);
    /// @notice The zero address and the account itself are no session keys.
    error SessionInvalidKey(address key);
    /// @notice The signed grant could be submitted until that time.
    error SessionSignatureExpired(uint48 deadline);
    /// @notice The signature isn't the account's, or was given for something else.
    error SessionInvalidSigner(address account);

    // --------------------------------------------------------------------------------------------------------- grants

    /// @notice Lets a key act for the caller. Reverts with SessionInvalidKey, SessionExpired.
    function grant(Session calldata session) external;

    /**
     * @notice Lets a key act for the account that signed it (EIP-712; contract wallets by ERC-1271).
     * @dev Signed is the account's present generation too, so that `revokeAll` voids what has not been submitted. Reverts as
     * `grant` does, and with SessionSignatureExpired, SessionInvalidSigner, InvalidAccountNonce.
     * @param nonce the account's next nonce under the key of its choice (see nonces(address,uint192)); requests use those
     * of key 0.
     * @param deadline the signature is void after this time.
     */
    function grantBySig(
        address account,
        Session calldata session,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Takes a key's grant back. Reverts with SessionUnknown.
    function revoke(address key) external;

    /// @notice Takes all grants of the caller back, and those that it signed and nobody submitted yet.
    function revokeAll() external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice What an account has granted a key and not taken back; all zero if nothing.
    function grantOf(address account, address key) external view returns (Grant memory);

    /// @notice How often an account took all grants back.
    function generationOf(address account) external view returns (uint64);
}
