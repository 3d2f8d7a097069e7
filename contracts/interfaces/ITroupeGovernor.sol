// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title What TroupeGovernor adds to OpenZeppelin's Governor and its extensions
 */
interface ITroupeGovernor {
    /**
     * @param votingDelay seconds from a proposal to its snapshot.
     * @param votingPeriod seconds from the snapshot to the end of the vote.
     * @param proposalThreshold votes that a proposer needs, base units.
     * @param quorumPercent of the supply at the snapshot that has to vote for or abstain.
     * @param lateQuorumExtension seconds that a vote goes on after the quorum is first reached; at most votingPeriod.
     */
    struct Settings {
        uint48 votingDelay;
        uint32 votingPeriod;
        uint256 proposalThreshold;
        uint256 quorumPercent;
        uint48 lateQuorumExtension;
    }

    /// @notice The guardian's mandate runs until `until`.
    event GuardianMandateSet(address indexed guardian, uint48 until);

    /// @notice The guardian can't cancel a proposal that only takes its own powers away.
    error TroupeGovernorGuardianBarred(uint256 proposalId);

    /// @notice When the guardian's mandate ends, unless a vote renews it before.
    function guardianUntil() external view returns (uint48);

    /// @notice The AccessManager whose guardian role a proposal can revoke without the guardian's leave.
    function accessManager() external view returns (address);
}
