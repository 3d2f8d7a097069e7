// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title An ERC-20 that anyone can mint.
contract OpenToken is ERC20 {
    constructor() ERC20("Open", "OPEN") {}

    /// @notice Mints any amount to anyone.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @title Takes 1% of each transfer on the way.
contract FeeToken is OpenToken {
    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0) || to == address(0)) {
            super._update(from, to, amount);
        } else {
            super._update(from, address(0xfee), amount / 100);
            super._update(from, to, amount - amount / 100);
        }
    }
}

/// @title Moves nothing, says false and does not revert.
contract FalseToken is OpenToken {
    /// @notice Always false.
    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @title Says true and moves nothing.
contract LyingToken is OpenToken {
    /// @notice True, whatever happened; nothing did.
    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return true;
    }
}

/// @title Whom a HookToken calls.
interface IHook {
    /// @notice Called by the token before and after each transfer.
    function tokensMoved() external;
}

/// @title Calls the sender before and the receiver after each transfer, as ERC-777 does.
contract HookToken is OpenToken {
    function _update(address from, address to, uint256 amount) internal override {
        if (from != address(0)) _call(from);
        super._update(from, to, amount);
        _call(to);
    }

    function _call(address account) private {
        if (account.code.length == 0) return;
        // solhint-disable-next-line avoid-low-level-calls
        (bool known, ) = account.call(abi.encodeCall(IHook.tokensMoved, ()));
        known; // an account without the hook is no obstacle
    }
}

/// @title Returns nothing from transfers, as some old tokens do.
contract SilentToken {
    /// @notice What an account holds.
    mapping(address account => uint256 amount) public balanceOf;

    /// @notice What a spender may take.
    mapping(address owner => mapping(address spender => uint256 amount)) public allowance;

    /// @notice Mints any amount to anyone.
    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    /// @notice Lets a spender take an amount.
    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    /// @notice Moves an amount.
    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    /// @notice Moves an amount on an allowance.
    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
