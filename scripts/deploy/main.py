"""Deploy Troupe's contracts: `python3 scripts/brownie.py run deploy/main --network troupe`.

To the chain at TROUPE_RPC_URL; the manifest goes to TROUPE_DEPLOYMENT. On the development chain (id 31337) the public
development keys are used and a dollar that anyone can mint is added; elsewhere keys come from an encrypted file (see
keys.py) and people and parameters from the JSON file named by TROUPE_DEPLOY_CONFIG (see plan.py); the whole is
rehearsed on a copy of the chain first, and nothing is spent before somebody has typed the network's name.

`... run deploy/main dry_run --network troupe` rehearses, says what would be done and what it would cost, and ends.
Broken off at any moment, the same command goes on where it was (journal.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from brownie import Contract, project, web3

from scripts.deploy import keys, manifest
from scripts.deploy.files import write_json
from scripts.deploy.first_day import first_day
from scripts.deploy.journal import Journal, JournalError
from scripts.deploy.plan import DEVELOPMENT, DEVELOPMENT_CHAIN, Plan, PlanError, load
from scripts.deploy.rehearsal import ForkError, Rehearsal, rehearse
from scripts.deploy.sending import Sender, SendError
from scripts.deploy.system import Deployment
from scripts.deploy.verify import compare


class Refused(Exception):
    """The deployment can't begin; the text says what to do."""


def plan_for(chain_id: int, environment: dict[str, str]) -> Plan:
    """The development plan on the development chain, else the one that TROUPE_DEPLOY_CONFIG names."""
    if chain_id == DEVELOPMENT_CHAIN:
        return Plan(network=DEVELOPMENT, people=keys.dev_people())
    config = environment.get("TROUPE_DEPLOY_CONFIG")
    if not config:
        raise Refused(
            f"chain {chain_id} needs TROUPE_DEPLOY_CONFIG: a JSON file with its network, people and parameters"
        )
    plan = load(Path(config))
    people = plan.people
    keys.refuse_dev_addresses(chain_id, [people.publisher, people.moderator, people.guardian, *people.founders])
    return plan


def bind(name: str, address: str, abi: list[Any]) -> Any:
    """A Brownie contract object at an address."""
    return Contract.from_abi(name, address, abi, persist=False)


@dataclass
class Run:
    """One deployment of a plan by a sender; its manifest goes to `target`."""

    chain_id: int
    plan: Plan
    sender: Sender
    target: Path
    contract_at: Callable[[str, str, list[Any]], Any] = bind

    @classmethod
    def prepared(cls, environment: dict[str, str]) -> Run:
        """From the environment. Raises Refused, PlanError, KeyRefused, JournalError or SendError."""
        chain_id = manifest.chain_of(web3)
        expected = manifest.stated_chain(environment, chain_id)
        if chain_id != expected:
            raise Refused(
                f"the node is on chain {chain_id}, TROUPE_CHAIN_ID says {expected}: point TROUPE_RPC_URL elsewhere"
            )
        plan = plan_for(chain_id, environment)
        account = keys.deployer(chain_id, environment)
        target = manifest.path(environment, chain_id)
        if chain_id != DEVELOPMENT_CHAIN and target.exists():
            raise Refused(
                f"{target} says that chain {chain_id} has its contracts: verify them, or set TROUPE_DEPLOYMENT to"
                " another file for a second set"
            )
        genesis = "0x" + bytes(web3.eth.get_block(0)["hash"]).hex()
        chain = {"chainId": chain_id, "genesisHash": genesis, "deployer": account.address}
        path = target.with_suffix(".journal")
        count, latest = web3.eth.get_transaction_count(account.address), web3.eth.get_block("latest")
        journal = Journal.opened(path, chain, count, int(latest["timestamp"]))
        return cls(chain_id, plan, Sender(web3, account, journal), target)

    def carried_out(self, sender: Sender) -> dict[str, Any]:
        """Deploy, and check what was deployed; the manifest. Raises Refused, SendError or PlanError."""
        loaded = project.get_loaded_projects()[0]
        deployment = Deployment(sender, self.plan, loaded, self.contract_at)
        system = deployment.run()
        if self.chain_id == DEVELOPMENT_CHAIN:
            deployment.approve_bonds(Sender(web3, keys.dev_account(keys.DEV_ROLES.index("publisher"))))
        stated = manifest.build(web3, self.plan, system, sender.account.address)
        if found := compare(web3, stated, loaded, self.contract_at).drift:
            raise Refused("the deployment is not what was planned:\n  " + "\n  ".join(found))
        return stated

    def rehearsed(self) -> Rehearsal:
        """The same on a copy of the chain."""
        return rehearse(self.sender, self.carried_out)


def ether(wei: int) -> str:
    return f"{Decimal(wei) / 10**18:.6f} ETH"


def forecast(run: Run, rehearsal: Rehearsal) -> str:
    """What a deployment will do and cost, for people."""
    done, people = len(run.sender.journal.steps), run.plan.people
    lines = [
        f"Troupe on {run.plan.network} (chain {run.chain_id}) by {run.sender.account.address}",
        *([f"{done} steps are done already"] if done else []),
        "",
        *(f"  {number:>3}  {what:<48}{gas:>12,} gas" for number, (what, gas) in enumerate(rehearsal.steps, done + 1)),
        "",
        f"  publisher {people.publisher}, moderator {people.moderator}, guardian {people.guardian}",
        f"  founders  {', '.join(people.founders)}",
        "",
        *(f"  {sentence}" for sentence in first_day(run.plan)),
        "",
        f"{len(rehearsal.steps)} transactions, {rehearsal.gas:,} gas: about {ether(rehearsal.cost)}, at most"
        f" {ether(rehearsal.most)} should prices double; the deployer has {ether(rehearsal.balance)}.",
        "What a layer-2 chain asks for data comes on top. The rehearsal ended well: code, wiring, roles as planned.",
    ]
    return "\n".join(lines)


def confirm(run: Run, rehearsal: Rehearsal, ask: Callable[[str], str] = input) -> None:
    """Have a person say that it may be spent. Raises Refused."""
    if rehearsal.balance < rehearsal.most:
        raise Refused(
            f"{run.sender.account.address} has {ether(rehearsal.balance)} and may need {ether(rehearsal.most)}:"
            " send it the rest first"
        )
    try:
        answer = ask(f"Type {run.plan.network} to spend this, anything else to stop: ")
    except EOFError:
        raise Refused("nobody is there to confirm it") from None
    if answer.strip() != run.plan.network:
        raise Refused("not confirmed; nothing was sent")


def table(stated: dict[str, Any], sender: Sender, seconds: float) -> str:
    """What was deployed, for people."""
    width = max(map(len, stated["contracts"])) + 2
    people = stated["parameters"]["people"]
    lines = [f"Troupe on {stated['network']} (chain {stated['chainId']}), from block {stated['startBlock']}", ""]
    lines += [f"  {name:<{width}}{entry['address']}" for name, entry in stated["contracts"].items()]
    lines += ["", "  tokens"]
    lines += [f"    {t['symbol']:<{width - 2}}{t['address']}  {t['decimals']} decimals" for t in stated["tokens"]]
    lines += ["", "  people"]
    for role, who in people.items():
        for address in [who] if isinstance(who, str) else who:
            lines.append(f"    {role:<{width - 2}}{address}")
    lines += [
        "",
        f"{sender.transactions} transactions, {sender.gas_used:,} gas, {seconds:.1f} s. The deployer holds no role.",
    ]
    return "\n".join(lines)


@contextmanager
def said_in_words() -> Iterator[None]:
    """Exit with one sentence when it can't be done."""
    try:
        yield
    except (Refused, PlanError, SendError, JournalError, ForkError, keys.KeyRefused) as error:
        sys.exit(f"not deployed: {error}")


def dry_run() -> None:
    """Say what `main` would do and what it would cost; send nothing."""
    with said_in_words():
        run = Run.prepared(dict(os.environ))
        print(forecast(run, run.rehearsed()))
    print("Nothing was sent.")


def main() -> None:
    """Deploy, check what was deployed, write the manifest, print a table. Exits with one sentence when it can't."""
    started = time.monotonic()
    with said_in_words():
        run = Run.prepared(dict(os.environ))
        if run.chain_id != DEVELOPMENT_CHAIN:
            rehearsal = run.rehearsed()
            print(forecast(run, rehearsal))
            confirm(run, rehearsal)
        stated = run.carried_out(run.sender)
        write_json(run.target, stated)
        run.sender.journal.close()
    print(table(stated, run.sender, time.monotonic() - started))
    print(f"manifest: {run.target}")
