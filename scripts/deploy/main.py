"""Deploy Troupe's contracts: `python3 scripts/brownie.py run deploy/main --network troupe`.

To the chain at TROUPE_RPC_URL; the manifest goes to TROUPE_DEPLOYMENT. On the development chain (id 31337) the public
development keys are used and a dollar that anyone can mint is added; elsewhere keys come from an encrypted file (see
keys.py) and people and parameters from the JSON file named by TROUPE_DEPLOY_CONFIG (see plan.py).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from brownie import Contract, project, web3

from scripts.deploy import keys, manifest
from scripts.deploy.plan import DEVELOPMENT, DEVELOPMENT_CHAIN, Plan, PlanError, load
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


def main() -> None:
    """Deploy, check what was deployed, write the manifest, print a table. Exits with one sentence when it can't."""
    started = time.monotonic()
    environment = dict(os.environ)
    try:
        chain_id = web3.eth.chain_id
        expected = int(environment.get("TROUPE_CHAIN_ID", DEVELOPMENT_CHAIN))
        if chain_id != expected:
            raise Refused(
                f"the node is on chain {chain_id}, TROUPE_CHAIN_ID says {expected}: point TROUPE_RPC_URL elsewhere"
            )
        plan = plan_for(chain_id, environment)
        sender = Sender(web3, keys.deployer(chain_id, environment))
        loaded = project.get_loaded_projects()[0]
        deployment = Deployment(sender, plan, loaded, bind)
        system = deployment.run()
        if chain_id == DEVELOPMENT_CHAIN:
            deployment.approve_bonds(Sender(web3, keys.dev_account(keys.DEV_ROLES.index("publisher"))))
        stated = manifest.build(web3, plan, system, sender.account.address)
        if found := compare(web3, stated, loaded, bind).drift:
            raise Refused("the deployment is not what was planned:\n  " + "\n  ".join(found))
        target = manifest.path(environment, chain_id)
        manifest.write(target, stated)
    except (Refused, PlanError, SendError, keys.KeyRefused) as error:
        sys.exit(f"not deployed: {error}")
    print(table(stated, sender, time.monotonic() - started))
    print(f"manifest: {target}")
