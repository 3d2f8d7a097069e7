// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title The naive split: each payment is pushed on to every payee, in equal parts
 * @dev What bench/gas.py compares the ledger with. Nothing of Troupe uses it.
 */
contract PushSplit {
    error PaymentRefused(address payee);

    address[] private _payees;

    constructor(address[] memory payees) {
        _payees = payees;
    }

    function pay() external payable {
        address[] memory payees = _payees;
        uint256 part = msg.value / payees.length;
        for (uint256 i = 0; i < payees.length; ++i) {
            (bool sent, ) = payees[i].call{value: part}("");
            if (!sent) revert PaymentRefused(payees[i]);
        }
    }
}
