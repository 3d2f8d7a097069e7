"""People, their balances, and the chain's clock."""

from __future__ import annotations

from typing import Any

from scripts.console.amounts import Refused, Token, amount, days, readable, span, table
from scripts.console.chain import Troupe
from scripts.console.commands import command
from scripts.deploy.plan import NATIVE


@command
def people(troupe: Troupe) -> str:
    """everybody whose key this chain has"""
    return table(list(troupe.people.items()), ("name", "address"))


def bare(units: int, token: Token) -> str:
    """An amount in a column that has the token's symbol above it."""
    return readable(units, token).removesuffix(f" {token.symbol}")


@command
def balances(troupe: Troupe, *who: Any) -> str:
    """what people have: coins, tokens, votes; of some, or of those who play no role"""
    chosen = [troupe.account(each) for each in who] or [troupe.people[name] for name in list(troupe.people)[-4:]]
    votes = troupe.token_of(troupe.TroupeToken.address)
    rows = [
        (
            troupe.called(account),
            *(bare(troupe.balance(account, token), token) for token in troupe.tokens),
            bare(int(troupe.TroupeToken.getVotes(account)), votes),
        )
        for account in chosen
    ]
    symbols = [token.symbol for token in troupe.tokens]
    return table(rows, ("who", *symbols, "votes"), right=" ".join([*symbols, "votes"]))


@command
def faucet(troupe: Troupe, price: Any, to: Any) -> str:
    """mint dollars of the development chain for somebody"""
    wanted = amount(price, troupe.tokens)
    if wanted.token.address in (NATIVE, troupe.TroupeToken.address):
        raise Refused(f"only mUSD comes from a faucet, and {wanted.token.symbol} does not")
    account = troupe.account(to)
    troupe.send(account, troupe.erc20[wanted.token.address], "mint", account, wanted.units)
    return f"{troupe.called(account)} has {readable(troupe.balance(account, wanted.token), wanted.token)} now"


@command
def wait(troupe: Troupe, number_of_days: Any) -> str:
    """let days pass on the chain's clock"""
    seconds = days(number_of_days)
    troupe.forward(seconds)
    return f"{span(seconds)} passed on the chain"
