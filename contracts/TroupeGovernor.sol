// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorCountingFractional} from "@openzeppelin/contracts/governance/extensions/GovernorCountingFractional.sol";
import {GovernorNoncesKeyed} from "@openzeppelin/contracts/governance/extensions/GovernorNoncesKeyed.sol";
import {GovernorPreventLateQuorum} from "@openzeppelin/contracts/governance/extensions/GovernorPreventLateQuorum.sol";
import {GovernorProposalGuardian} from "@openzeppelin/contracts/governance/extensions/GovernorProposalGuardian.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {
    GovernorVotesQuorumFraction
} from "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {Bytes} from "@openzeppelin/contracts/utils/Bytes.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {ITroupeGovernor} from "./interfaces/ITroupeGovernor.sol";

/**
 * @title Where the holders decide
 * @notice Proposals, votes by transaction or by signature (each proposal has its own nonces), whole or divided, counted
 * against the votes at the snapshot; what is accepted waits in the Timelock, and then anyone executes it.
 *
 * A guardian can cancel a proposal at any stage, and do nothing else here. Its mandate ends after GUARDIAN_MANDATE unless a
 * vote renews it; it can't cancel a proposal that does nothing but replace it (`setProposalGuardian`) or revoke the
 * GUARDIAN role in the AccessManager. A proposer can withdraw its proposal before the vote starts, never later.
 *
 * A description that ends in `#proposer=0x...` can be proposed by that account only, so nobody can take a proposal's id
 * before its author.
 * @custom:security-contact see SECURITY.md
 */
contract TroupeGovernor is
    ITroupeGovernor,
    Governor,
    GovernorSettings,
    GovernorCountingFractional,
    GovernorVotes,
    GovernorVotesQuorumFraction,
    GovernorTimelockControl,
    GovernorPreventLateQuorum,
    GovernorProposalGuardian,
    GovernorNoncesKeyed
{
    /// @notice Length of the guardian's mandate, in seconds.
    uint48 public constant GUARDIAN_MANDATE = 365 days;
    /// @notice Id of the guardian role in the AccessManager.
    uint64 public constant GUARDIAN_ROLE = 4;

    address private immutable _accessManager;
    uint48 private _guardianUntil;

    /**
     * @param token whose votes count.
     * @param timelock_ that executes.
     * @param accessManager_ that holds the roles of all other contracts.
     * @param guardian the first proposal guardian.
     * @param settings the first settings; all of them can be voted.
     */
    constructor(
        IVotes token,
        TimelockController timelock_,
        address accessManager_,
        address guardian,
        Settings memory settings
    )
        Governor("TroupeGovernor")
        GovernorSettings(settings.votingDelay, settings.votingPeriod, settings.proposalThreshold)
        GovernorVotes(token)
        GovernorVotesQuorumFraction(settings.quorumPercent)
        GovernorTimelockControl(timelock_)
        GovernorPreventLateQuorum(settings.lateQuorumExtension)
    {
        _accessManager = accessManager_;
        _setProposalGuardian(guardian);
    }

    /**
     * @notice Cancels a proposal. The proposer can before the vote starts, the guardian at any stage.
     * @dev Reverts with GovernorUnableToCancel, TroupeGovernorGuardianBarred, GovernorUnexpectedProposalState.
     */
    function cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) public override returns (uint256) {
        if (_msgSender() == proposalGuardian() && _onlyRemovesGuardian(targets, calldatas)) {
            revert TroupeGovernorGuardianBarred(getProposalId(targets, values, calldatas, descriptionHash));
        }
        return super.cancel(targets, values, calldatas, descriptionHash);
    }

    /// @notice The guardian while its mandate runs, else zero.
    function proposalGuardian() public view override returns (address) {
        return clock() < _guardianUntil ? super.proposalGuardian() : address(0);
    }

    /// @notice Seconds since 1970 (ERC-6372); the token's clock too, read here without a call to it.
    function clock() public view override(Governor, GovernorVotes) returns (uint48) {
        return Time.timestamp();
    }

    /// @notice The clock counts seconds (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override(Governor, GovernorVotes) returns (string memory) {
        return "mode=timestamp";
    }

    /// @inheritdoc ITroupeGovernor
    function guardianUntil() external view returns (uint48) {
        return _guardianUntil;
    }

    /// @inheritdoc ITroupeGovernor
    function accessManager() external view returns (address) {
        return _accessManager;
    }

    /// @notice The state of a proposal, as an index into IGovernor.ProposalState.
    function state(
        uint256 proposalId
    ) public view override(Governor, GovernorTimelockControl) returns (ProposalState) {
        return super.state(proposalId);
    }

    /// @notice Votes that a proposer needs, base units.
    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    /// @notice The last second in which votes count; it moves when the quorum is reached late.
    function proposalDeadline(
        uint256 proposalId
    ) public view override(Governor, GovernorPreventLateQuorum) returns (uint256) {
        return super.proposalDeadline(proposalId);
    }

    /// @notice Always true: every accepted proposal waits in the Timelock.
    function proposalNeedsQueuing(
        uint256 proposalId
    ) public view override(Governor, GovernorTimelockControl) returns (bool) {
        return super.proposalNeedsQueuing(proposalId);
    }

    function _setProposalGuardian(address newProposalGuardian) internal override {
        super._setProposalGuardian(newProposalGuardian);
        _guardianUntil = clock() + GUARDIAN_MANDATE;
        emit GuardianMandateSet(newProposalGuardian, _guardianUntil);
    }

    function _tallyUpdated(uint256 proposalId) internal override(Governor, GovernorPreventLateQuorum) {
        super._tallyUpdated(proposalId);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _useCheckedNonce(address owner, uint256 nonce) internal override(Nonces, GovernorNoncesKeyed) {
        super._useCheckedNonce(owner, nonce);
    }

    /**
     * @dev The ballot carries the voter's next nonce under the proposal's key, and does not consume it: a whole vote uses
     * all the weight that the voter has at the snapshot, for ever, so it can't be counted again, and the 20,000 gas of a
     * fresh storage slot are saved on every relayed vote. A ballot in fractions leaves weight and does consume it, which
     * also voids a whole ballot that was signed for the same nonce.
     */
    function _validateVoteSig(
        uint256 proposalId,
        uint8 support,
        address voter,
        bytes memory signature
    ) internal view override(Governor, GovernorNoncesKeyed) returns (bool) {
        uint256 nonce = nonces(voter, uint192(proposalId));
        bytes32 structHash = keccak256(abi.encode(BALLOT_TYPEHASH, proposalId, support, voter, nonce));
        return SignatureChecker.isValidSignatureNow(voter, _hashTypedDataV4(structHash), signature);
    }

    function _validateExtendedVoteSig(
        uint256 proposalId,
        uint8 support,
        address voter,
        string memory reason,
        bytes memory params,
        bytes memory signature
    ) internal override(Governor, GovernorNoncesKeyed) returns (bool) {
        return super._validateExtendedVoteSig(proposalId, support, voter, reason, params, signature);
    }

    /// @dev Without a guardian OpenZeppelin lets a proposer cancel at any stage, even what was accepted. Not here.
    function _validateCancel(
        uint256 proposalId,
        address caller
    ) internal view override(Governor, GovernorProposalGuardian) returns (bool) {
        return caller == proposalGuardian() || Governor._validateCancel(proposalId, caller);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }

    /// @dev True if each call is governor.setProposalGuardian(...) or accessManager.revokeRole(GUARDIAN_ROLE, ...).
    function _onlyRemovesGuardian(
        address[] memory targets,
        bytes[] memory calldatas
    ) private view returns (bool) {
        if (targets.length != calldatas.length) return false; // no such proposal exists; super.cancel says so
        for (uint256 i = 0; i < targets.length; ++i) {
            bytes memory data = calldatas[i];
            bytes4 selector = bytes4(data);
            bool replaces = targets[i] == address(this) &&
                selector == GovernorProposalGuardian.setProposalGuardian.selector;
            bool revokes = targets[i] == _accessManager &&
                selector == IAccessManager.revokeRole.selector &&
                data.length >= 36 &&
                uint256(bytes32(Bytes.slice(data, 4, 36))) == GUARDIAN_ROLE;
            if (!replaces && !revokes) return false;
        }
        return true;
    }
}
