// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Calls back once whenever it gets coins or tokens, and remembers how that went.
contract ReentrantAccount {
    address private _target;
    bytes private _data;

    /// @notice How often the call back was made.
    uint256 public attempts;

    /// @notice Whether the latest call back was carried out.
    bool public succeeded;

    /// @notice What the latest call back returned.
    bytes public answer;

    receive() external payable {
        _callBack();
    }

    /// @notice Sets the call that is made on receipt.
    function arm(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    /// @notice Makes any call from this account.
    function run(address target, bytes calldata data) external payable {
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory result) = target.call{value: msg.value}(data);
        require(done, string(result));
    }

    /// @notice HookToken's hook.
    function tokensMoved() external {
        _callBack();
    }

    function _callBack() internal {
        if (_target == address(0)) return;
        (address target, bytes memory data) = (_target, _data);
        _target = address(0);
        ++attempts;
        // solhint-disable-next-line avoid-low-level-calls
        (succeeded, answer) = target.call(data);
    }
}

/// @title Takes no coins.
contract RefusingAccount {
    /// @notice Why not.
    error Refused();

    receive() external payable {
        revert Refused();
    }
}

/// @title Forces coins on an address that takes none.
contract Feeder {
    constructor(address payable target) payable {
        selfdestruct(target);
    }
}

/// @title Pays with 2,300 gas, as old marketplaces do.
contract Stingy {
    /// @notice Pays what it is given.
    function pay(address payable target) external payable {
        target.transfer(msg.value);
    }
}

/// @title A contract wallet whose owner signs for it (ERC-1271).
contract SignerWallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner) {
        _owner = owner;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        return ECDSA.recover(hash, signature) == _owner ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @title A contract wallet whose check of a signature ends in one of the wrong ways.
contract FaultyWallet is IERC1271 {
    /// @notice What it does when it is asked.
    enum Fault {
        OTHER_MAGIC,
        EMPTY_ANSWER,
        REVERTS,
        EATS_GAS
    }

    /// @notice Why it doesn't answer.
    error Silent();

    Fault private immutable _fault;

    constructor(Fault fault) {
        _fault = fault;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (_fault == Fault.REVERTS) revert Silent();
        // solhint-disable-next-line no-inline-assembly
        if (_fault == Fault.EATS_GAS) assembly {
            invalid()
        }
        // solhint-disable-next-line no-inline-assembly
        if (_fault == Fault.EMPTY_ANSWER) assembly {
            return(0, 0)
        }
        return 0xdeadbeef;
    }
}
