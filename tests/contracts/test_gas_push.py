"""What the ledger's prices are to be compared with: a split that pushes each payment on to every payee."""

from brownie import PushSplit
from kit import report_gas


def test_gas_of_a_naive_push_split_grows_with_its_payees(admin, payer):
    """First: the payees have never had a coin. The ledger's price is the same for 1 and for 10,000 holders."""
    steady = {}
    for payees in (2, 10, 100):
        split = PushSplit.deploy(
            ["0x" + (payees << 32 | n).to_bytes(20, "big").hex() for n in range(payees)], {"from": admin}
        )
        first, again = (split.pay({"from": payer, "value": 10**18}).gas_used for _ in range(2))
        report_gas(f"naive push to {payees} payees, first", first)
        report_gas(f"naive push to {payees} payees, steady", again)
        assert split.balance() == 0
        steady[payees] = again
    assert steady[100] - steady[10] > 80 * 9_000  # a coin sent to an account costs 9,000 at least
