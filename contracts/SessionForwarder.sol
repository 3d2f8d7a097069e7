// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC2771Forwarder} from "@openzeppelin/contracts/metatx/ERC2771Forwarder.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {ISessionForwarder} from "./interfaces/ISessionForwarder.sol";

/**
 * @title SessionForwarder
 * @dev OpenZeppelin's forwarder hashes the nonce of `request.from` and uses up the nonce of the signer that was recovered.
 * They are the same account there. Here a request that a session key signed counts as signed by the account, see
 * `_recoverForwardRequestSigner`: else the key's nonce would be used up, and the request could be replayed without end.
 * Nobody administers the forwarder, and it holds nothing between two transactions.
 * @custom:security-contact see SECURITY.md
 */
contract SessionForwarder is ISessionForwarder, ERC2771Forwarder, NoncesKeyed {
    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice EIP-712 type of a signed grant.
    bytes32 public constant GRANT_TYPEHASH =
        keccak256(
            "Grant(address account,address key,bytes32 scopeRoot,uint128 valueLimit,uint48 expires,uint64 generation,uint256 nonce,uint48 deadline)"
        );

    /// @dev A session key's signature: its 65 bytes, the key, and the proof's nodes.
    uint256 private constant KEY_AT = 65;
    uint256 private constant PROOF_AT = KEY_AT + 20;
    uint256 private constant NODE_LENGTH = 32;

    // ------------------------------------------------------------------------------------------------------- storage

    /// @dev Why a grant doesn't allow a request.
    enum Flaw {
        NONE,
        UNKNOWN,
        EXPIRED,
        SCOPE,
        VALUE
    }

    /// @dev Two slots a grant: times and amounts; the scope.
    mapping(address account => mapping(address key => Grant)) private _grants;
    mapping(address account => uint64 generation) private _generations;

    // --------------------------------------------------------------------------------------------------- construction

    constructor() ERC2771Forwarder("Troupe SessionForwarder") {}

    // --------------------------------------------------------------------------------------------------------- grants

    /// @inheritdoc ISessionForwarder
    function grant(Session calldata session) external override {
        _grant(msg.sender, session);
    }

    /// @inheritdoc ISessionForwarder
    function grantBySig(
        address account,
        Session calldata session,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override {
        if (block.timestamp > deadline) revert SessionSignatureExpired(deadline);
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    GRANT_TYPEHASH,
                    account,
                    session.key,
                    session.scopeRoot,
                    session.valueLimit,
                    session.expires,
                    _generations[account],
                    nonce,
                    deadline
                )
            )
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(account, digest, signature)) {
            revert SessionInvalidSigner(account);
        }
        _useCheckedNonce(account, nonce);
        _grant(account, session);
    }

    /// @inheritdoc ISessionForwarder
    function revoke(address key) external override {
        if (_grantOf(msg.sender, key).expires == 0) revert SessionUnknown(msg.sender, key);
        delete _grants[msg.sender][key];
        emit SessionRevoked(msg.sender, key);
    }

    /// @inheritdoc ISessionForwarder
    function revokeAll() external override {
        uint64 generation = ++_generations[msg.sender];
        emit AllSessionsRevoked(msg.sender, generation);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc ISessionForwarder
    function grantOf(address account, address key) external view override returns (Grant memory) {
        return _grantOf(account, key);
    }

    /// @inheritdoc ISessionForwarder
    function generationOf(address account) external view override returns (uint64) {
        return _generations[account];
    }

    /// @notice Whether a request could be executed now, as far as the forwarder can tell.
    function verify(ForwardRequestData calldata request) public view override returns (bool) {
        return super.verify(request) && (!_isOfSession(request) || _flawOf(request) == Flaw.NONE);
    }

    // ------------------------------------------------------------------------------------------------------ internals

    function _grant(address account, Session calldata session) private {
        if (session.key == address(0) || session.key == account) revert SessionInvalidKey(session.key);
        if (session.expires <= block.timestamp) revert SessionExpired(session.expires);
        _grants[account][session.key] = Grant({
            expires: session.expires,
            valueLeft: session.valueLimit,
            generation: _generations[account],
            scopeRoot: session.scopeRoot
        });
        emit SessionGranted({
            account: account,
            key: session.key,
            scopeRoot: session.scopeRoot,
            valueLimit: session.valueLimit,
            expires: session.expires
        });
    }

    /// @dev The grant of the account's present generation; all zero if there is none.
    function _grantOf(address account, address key) private view returns (Grant memory found) {
        found = _grants[account][key];
        if (found.generation != _generations[account]) delete found;
    }

    /**
     * @dev The account, if it or the key that the request names signed it; never that key itself, whose nonce is none of
     * the request's. Whether the account granted the key anything is for the callers, `verify` and `_execute`, to look at.
     */
    function _recoverForwardRequestSigner(
        ForwardRequestData calldata request
    ) internal view override returns (bool isValid, address signer) {
        if (!_isOfSession(request)) return super._recoverForwardRequestSigner(request);
        (address recovered, ECDSA.RecoverError error, ) = ECDSA.tryRecoverCalldata(
            _hashTypedDataV4(_hashRequest(request)),
            request.signature[:KEY_AT]
        );
        isValid = error == ECDSA.RecoverError.NoError && recovered == _keyOf(request);
        return (isValid, isValid ? request.from : recovered);
    }

    /// @dev OpenZeppelin's, once the grant has been looked at; the nonce is used up there, before the call.
    function _execute(
        ForwardRequestData calldata request,
        bool requireValidRequest
    ) internal override returns (bool) {
        if (_isOfSession(request)) {
            Flaw flaw = _flawOf(request);
            if (flaw != Flaw.NONE) {
                if (requireValidRequest) _refuse(request, flaw);
                return false;
            }
            if (request.value != 0) _spend(request);
        }
        return super._execute(request, requireValidRequest);
    }

    /// @dev What of the request the account's grant to the key doesn't allow.
    function _flawOf(ForwardRequestData calldata request) private view returns (Flaw) {
        Grant memory granted = _grantOf(request.from, _keyOf(request));
        if (granted.expires == 0) return Flaw.UNKNOWN;
        if (block.timestamp >= granted.expires) return Flaw.EXPIRED;
        if (!_isInScope(granted.scopeRoot, request)) return Flaw.SCOPE;
        return request.value > granted.valueLeft ? Flaw.VALUE : Flaw.NONE;
    }

    function _refuse(ForwardRequestData calldata request, Flaw flaw) private view {
        address key = _keyOf(request);
        Grant storage granted = _grants[request.from][key];
        if (flaw == Flaw.UNKNOWN) revert SessionUnknown(request.from, key);
        if (flaw == Flaw.EXPIRED) revert SessionExpired(granted.expires);
        if (flaw == Flaw.SCOPE) revert SessionScope(request.to, bytes4(request.data));
        revert SessionValueExceeded(request.value, granted.valueLeft);
    }

    /**
     * @dev Takes the request's value off the grant, before the call, so that a call from within can't spend it again. Only of
     * a valid request: else anybody could use up a grant with requests that nobody signed. A batched request whose call
     * fails has used up its value like its nonce.
     */
    function _spend(ForwardRequestData calldata request) private {
        (bool trusted, bool active, bool signed, ) = _validate(request);
        if (!trusted || !active || !signed) return; // OpenZeppelin's forwarder refuses it, and says why
        address key = _keyOf(request);
        Grant storage granted = _grants[request.from][key];
        uint128 left = uint128(granted.valueLeft - request.value); // no more than it was
        granted.valueLeft = left;
        emit SessionValueSpent(request.from, key, request.value, left);
    }

    /// @dev Whether a request claims to be signed by a session key; an own signature has 65 bytes, no other length is valid.
    function _isOfSession(ForwardRequestData calldata request) private pure returns (bool) {
        uint256 length = request.signature.length;
        return length >= PROOF_AT && (length - PROOF_AT) % NODE_LENGTH == 0;
    }

    function _keyOf(ForwardRequestData calldata request) private pure returns (address) {
        return address(bytes20(request.signature[KEY_AT:PROOF_AT]));
    }

    function _isInScope(bytes32 scopeRoot, ForwardRequestData calldata request) private pure returns (bool) {
        bytes calldata data = request.data;
        bytes4 selector = bytes4(data);
        // Shorter data would be completed to a selector by the account's address, which is put behind it.
        if (data.length < 4 || _movesTokens(selector)) return false;
        bytes calldata nodes = request.signature[PROOF_AT:];
        bytes32[] memory proof = new bytes32[](nodes.length / NODE_LENGTH);
        for (uint256 i = 0; i < proof.length; ++i) proof[i] = bytes32(nodes[i * NODE_LENGTH:]);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(request.to, selector))));
        return MerkleProof.verify(proof, scopeRoot, leaf);
    }

    /// @dev Functions of ERC-20, ERC-721 and ERC-1155 by which tokens are moved or approved. A key must never reach them, not
    /// even at a target that trusts this forwarder: allowances would outlive the session.
    function _movesTokens(bytes4 selector) private pure returns (bool) {
        return
            selector == IERC20.transfer.selector ||
            selector == IERC20.approve.selector || // ERC-721's too
            selector == IERC20.transferFrom.selector || // ERC-721's too
            selector == bytes4(0x42842e0e) || // ERC-721's safeTransferFrom, which has two forms
            selector == bytes4(0xb88d4fde) ||
            selector == bytes4(0x39509351) || // increaseAllowance, which older ERC-20s have
            selector == IERC1155.safeTransferFrom.selector ||
            selector == IERC1155.safeBatchTransferFrom.selector ||
            selector == IERC1155.setApprovalForAll.selector; // ERC-721's too
    }

    function _useCheckedNonce(address owner, uint256 nonce) internal override(Nonces, NoncesKeyed) {
        NoncesKeyed._useCheckedNonce(owner, nonce);
    }

    /// @dev As in OpenZeppelin's forwarder, which hashes and recovers in one function.
    function _hashRequest(ForwardRequestData calldata request) private view returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    FORWARD_REQUEST_TYPEHASH,
                    request.from,
                    request.to,
                    request.value,
                    request.gas,
                    nonces(request.from),
                    request.deadline,
                    keccak256(request.data)
                )
            );
    }
}
