// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Context} from "@openzeppelin/contracts/utils/Context.sol";

import {SessionForwarder} from "../SessionForwarder.sol";

/// @title Trusts a forwarder and remembers who called with what.
contract ForwardTarget is ERC2771Context {
    bytes private _nested;
    uint256 private _nestedValue;

    /// @notice The latest caller, as this contract sees it.
    address public caller;

    /// @notice How often it was called.
    uint256 public calls;

    /// @notice Selector of the error that the nested call ended with; 0 if it went through.
    bytes4 public nestedError;

    /// @notice It doesn't want to.
    error Unwilling();

    constructor(address forwarder) ERC2771Context(forwarder) {}

    /// @notice Has the next call make a call of the forwarder from within.
    function arm(bytes calldata data) external payable {
        (_nested, _nestedValue) = (data, msg.value);
    }

    /// @notice Something to do.
    function act(uint256) external payable {
        (caller, calls) = (_msgSender(), calls + 1);
        if (_nested.length == 0) return;
        bytes memory data = _nested;
        delete _nested;
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory answer) = trustedForwarder().call{value: _nestedValue}(data);
        if (!done) nestedError = bytes4(answer);
    }

    /// @notice Something else to do.
    function other() external payable {
        (caller, calls) = (_msgSender(), calls + 1);
    }

    /// @notice Never works.
    function fail() external payable {
        revert Unwilling();
    }
}

/// @title A token that is careless enough to trust a forwarder.
contract TrustingToken is ERC20, ERC2771Context {
    constructor(address forwarder) ERC20("Trusting", "TRUST") ERC2771Context(forwarder) {}

    /// @notice Mints to anyone.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _msgSender() internal view override(Context, ERC2771Context) returns (address) {
        return ERC2771Context._msgSender();
    }

    function _msgData() internal view override(Context, ERC2771Context) returns (bytes calldata) {
        return ERC2771Context._msgData();
    }

    function _contextSuffixLength() internal view override(Context, ERC2771Context) returns (uint256) {
        return ERC2771Context._contextSuffixLength();
    }
}

/**
 * @title The forwarder with a bug planted, to show that its tests find it
 * @notice The signer of a session's request is the key here, and so its nonce is used up instead of the account's.
 */
contract WrongNonceForwarder is SessionForwarder {
    function _validate(
        ForwardRequestData calldata request
    ) internal view override returns (bool trusted, bool active, bool signed, address signer) {
        (trusted, active, signed, signer) = super._validate(request);
        if (signed && request.signature.length > 65) signer = address(bytes20(request.signature[65:85]));
    }
}
