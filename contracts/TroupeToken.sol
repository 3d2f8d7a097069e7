// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20TransferAuthorization} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {ITroupeToken} from "./interfaces/ITroupeToken.sol";

/**
 * @title The token that its holders vote and are rewarded with
 * @notice ERC-20 with permits (ERC-2612), transfers by signature (ERC-3009, contract wallets included), votes on the
 * seconds clock (ERC-5805, ERC-6372) and a cap. Votes count for whom they are delegated to; without a delegation they
 * count for nobody.
 *
 * @dev The window of `mint`. There is no burn, so the supply never falls, and what was minted in the 365 days that end now
 * is the supply now less the supply then. It may be at most 5% of the supply then. The votes' checkpoints of the total
 * supply hold every supply of the past, so this is exact at any second and needs no storage of its own. In the first
 * year "then" lies before the deployment; the genesis supply stands for it.
 * @custom:security-contact see SECURITY.md
 */
contract TroupeToken is
    ITroupeToken,
    ERC20,
    ERC20Capped,
    ERC20Permit,
    ERC20Votes,
    ERC20TransferAuthorization,
    AccessManaged
{
    /// @notice Length of the sliding window of `mint`, in seconds.
    uint48 public constant MINT_WINDOW = 365 days;
    /// @notice What may be minted in any window, in basis points of the supply at its start.
    uint256 public constant MINT_LIMIT_BPS = 500;

    uint256 private immutable _genesisSupply;
    address private immutable _treasury;

    /**
     * @param name_ of the token; also of its EIP-712 domain, so at most 31 bytes.
     * @param symbol_ of the token.
     * @param cap_ the supply can never pass it, base units.
     * @param authority_ the AccessManager.
     * @param treasury_ the account that can't delegate: the Timelock.
     * @param genesis who holds the first supply.
     */
    constructor(
        string memory name_,
        string memory symbol_,
        uint256 cap_,
        address authority_,
        address treasury_,
        Allocation[] memory genesis
    ) ERC20(name_, symbol_) ERC20Capped(cap_) ERC20Permit(name_) AccessManaged(authority_) {
        _treasury = treasury_;
        for (uint256 i = 0; i < genesis.length; ++i) {
            _mint(genesis[i].account, genesis[i].amount);
        }
        _genesisSupply = totalSupply();
    }

    /// @inheritdoc ITroupeToken
    function mint(address to, uint256 amount) external restricted {
        uint256 available = mintable();
        if (amount > available) revert TroupeMintLimitExceeded(amount, available);
        _mint(to, amount);
    }

    /// @inheritdoc ITroupeToken
    function mintable() public view returns (uint256) {
        uint256 supplyThen = Math.max(getPastTotalSupply(clock() - MINT_WINDOW), _genesisSupply);
        return supplyThen + (supplyThen * MINT_LIMIT_BPS) / 10_000 - totalSupply();
    }

    /// @inheritdoc ITroupeToken
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @notice Seconds since 1970 (ERC-6372).
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @notice The clock counts seconds (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @notice The next sequential nonce of an account, used by permits and delegations.
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    /**
     * @notice Whether an ERC-3009 authorization was used or cancelled.
     * @dev Nonces are any 32 bytes, as ERC-3009 says, and not OpenZeppelin's keyed sequence: wallets draw them at random,
     * and a payment to the ledger uses a hash of what is paid for.
     */
    function authorizationState(
        address authorizer,
        bytes32 nonce
    ) public view override returns (bool) {
        return ERC3009.authorizationState(authorizer, nonce);
    }

    function _delegate(address account, address delegatee) internal override {
        if (account == _treasury) revert TroupeTreasuryCannotDelegate();
        super._delegate(account, delegatee);
    }

    function _consumeNonce(
        address authorizer,
        bytes32 nonce
    ) internal override {
        ERC3009._consumeNonce(authorizer, nonce);
    }

    function _useCheckedNonce(address owner, uint256 nonce) internal override(Nonces, NoncesKeyed) {
        super._useCheckedNonce(owner, nonce);
    }

    function _update(
        address from,
        address to,
        uint256 value
    ) internal override(ERC20, ERC20Capped, ERC20Votes) {
        super._update(from, to, value);
    }
}
