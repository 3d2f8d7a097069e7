// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {VestingWallet} from "@openzeppelin/contracts/finance/VestingWallet.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/**
 * @title OpenZeppelin contracts that are deployed as they are
 * @dev Never deployed itself. Brownie keeps artifacts only of what a contract of the project mentions; with this one,
 * deployment, verification and the exported ABIs use the very code that the pinned package holds.
 */
abstract contract Vendor {
    AccessManager internal _accessManager;
    TimelockController internal _timelockController;
    VestingWallet internal _vestingWallet;
}
