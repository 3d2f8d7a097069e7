// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title Bugs on purpose, that `make audit` must find
 * @dev Analysed in the same run and by the same detectors as contracts/. What must be found here stands in
 * docs/audit.toml; an audit that misses one of them has looked at nothing and fails.
 */
contract Planted {
    mapping(address account => uint256) public balanceOf;
    address public owner;

    function deposit() external payable {
        balanceOf[msg.sender] += msg.value;
    }

    /// @dev Pays before it forgets the balance.
    function withdraw() external {
        uint256 amount = balanceOf[msg.sender];
        (bool paid, ) = msg.sender.call{value: amount}("");
        require(paid);
        balanceOf[msg.sender] = 0;
    }

    /// @dev Anybody may, whom the owner has led into a transaction.
    function destroy(address payable to) external {
        require(tx.origin == owner);
        to.transfer(address(this).balance);
    }

    /// @dev Anybody may.
    function run(address code, bytes calldata data) external {
        (bool done, ) = code.delegatecall(data);
        require(done);
    }

    /// @dev Counts time in blocks.
    function isOpen(uint256 end) external view returns (bool) {
        return block.number < end;
    }
}
