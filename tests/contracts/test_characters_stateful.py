"""Characters against their model: random histories, every outcome compared, every getter, and the events folded."""

import random
from collections import Counter

import pytest
from brownie import Characters, EvictingCharacters
from characters import (
    ARENA,
    CHECKED_IN,
    GAME,
    LEVEL,
    FoldedCharacters,
    Model,
    class_params,
    signed_import,
    token_id,
)
from histories import seeds
from kit import DAY, ZERO, both, folded, logs_of, mine_at, now
from money import ACTIVE, NONE, SUSPENDED, hexed, keyed
from works import CID

from scripts.deploy.plan import SELLER

pytestmark = pytest.mark.feature("O5", via="chain")

STEPS = 90
CHECK_EVERY = 30
PLATFORMS = {GAME: 9, ARENA: 8}
"""Each platform and the account that signs for it."""

WEIGHTS = {"rule_mint": 2, "rule_transfer": 3, "rule_lend": 5, "rule_import": 3, "rule_check_in": 2, "rule_trait": 2}
"""How often a rule is drawn, if not once."""


class Machine:
    """Each rule does the same to the contract and to the model; both must end alike."""

    def __init__(self, characters, registry, accounts, work, seed, model=Model):
        self.characters, self.registry, self.accounts = characters, registry, accounts
        self.admin, self.author, self.minter, self.organiser = accounts[0], accounts[1], accounts[2], accounts[5]
        self.people = [*accounts[1:6], *accounts[8:10]]
        self.chance = random.Random(seed)
        self.work = work
        self.model = model({work: str(self.author)}, str(self.minter))
        self.outcomes = Counter()
        self.signed = []  # every signed import there was: its arguments, signer and number
        self.promised = {}  # token -> (user, until): what nobody may take away
        self.born_to = {}  # soulbound token -> its first owner
        self.seen = {}  # what never falls or changes back: minted, check-ins
        names = sorted(name for name in dir(self) if name.startswith("rule_"))
        self.rules = [name for name in names for _ in range(WEIGHTS.get(name, 1))]
        self.invariants = sorted(name for name in dir(self) if name.startswith("invariant_"))
        self.prepare()

    def prepare(self):
        """Two platforms; classes of each nature, most of them small."""
        for platform, index in PLATFORMS.items():
            key = keyed(index).address
            self.characters.setPlatform(platform, key, {"from": self.admin})
            self.model.state.PlatformSet(platform, key)
        for given in (
            {"maxSupply": 9},
            {"maxSupply": 3, "traitSetter": self.organiser},
            {"maxSupply": 4, "soulbound": True, "platformId": GAME},
            {"maxSupply": 5, "ticket": True, "organiser": self.organiser, "traitSetter": self.organiser},
        ):
            params = class_params(self.work, **given)
            self.characters.createClass(params, {"from": self.author})
            self.fold_class(*params)
            keys = [LEVEL] if "traitSetter" in given else []
            self.characters.addTraitKeys(len(self.model.state.classes), keys, {"from": self.author})
            for key in keys:
                self.model.state.TraitKeyAdded(len(self.model.state.classes), key)
        for class_id in (1, 1, 2, 2, 3, 4, 4):
            self.mint(class_id, self.accounts[9] if class_id == 3 else self.author)

    def fold_class(self, work, supply, rarity, soulbound, ticket, setter, organiser, platform):
        state, class_id = self.model.state, len(self.model.state.classes) + 1
        state.ClassCreated(class_id, work, supply, rarity, soulbound, ticket, platform)
        state.OrganiserSet(class_id, organiser)
        state.TraitSetterSet(class_id, setter)
        if ticket:
            state.TraitKeyAdded(class_id, CHECKED_IN)

    def run(self):
        for index in range(STEPS):
            getattr(self, self.chance.choice(self.rules))()
            if index % CHECK_EVERY == CHECK_EVERY - 1:
                self.check()
        return self

    def check(self):
        for name in self.invariants:
            getattr(self, name)()

    def both(self, name, on_model, on_chain):
        """Run both at one time and count how they ended. Whether it went through."""
        ended = both(on_model, on_chain)
        self.outcomes[name, ended] += 1
        return ended is None

    # ---------------------------------------------------------------------------------------------------------- draws

    def anyone(self):
        return self.chance.choice(self.people)

    def token(self, *classes):
        """A token that there is, mostly one of these classes; now and then one that was burned or never minted."""
        alive = sorted(number for number, token in self.model.state.tokens.items() if token.owner != ZERO)
        meant = [number for number in alive if number >> 32 in classes]
        if not alive or self.chance.random() < 0.05:
            return self.chance.choice([*self.model.state.tokens, token_id(9, 1)])
        return self.chance.choice(meant if meant and self.chance.random() < 0.8 else alive)

    def managed(self):
        """A token and, mostly, its owner or who it approved."""
        token = self.token()
        found = self.model.state.tokens.get(token)
        if found is None or found.owner == ZERO or self.chance.random() < 0.2:
            return self.anyone(), token
        return self.accounts.at(self.chance.choice([found.owner, self.model.approved.get(token, found.owner)])), token

    # ---------------------------------------------------------------------------------------------------------- rules

    def rule_mint(self):
        class_id = self.chance.choice([1, 2, 3, 4, 5])
        self.mint(class_id, self.chance.choice([self.author, self.minter, self.accounts[9], self.anyone()]))

    def mint(self, class_id, sender):
        to = self.anyone()
        if self.both(
            "mint",
            lambda _: self.model.mint(str(sender), str(to), class_id, CID),
            lambda: self.characters.mint(to, class_id, CID, {"from": sender}),
        ):
            number = self.model.state.classes[class_id].minted
            if class_id == 3:
                self.born_to[token_id(class_id, number)] = str(to)

    def rule_approve(self):
        (sender, token), to = self.managed(), self.anyone()
        self.both(
            "approve",
            lambda _: self.model.approve(str(sender), str(to), token),
            lambda: self.characters.approve(to, token, {"from": sender}),
        )

    def rule_transfer(self):
        (sender, token), to = self.managed(), self.anyone()
        owner = self.model.state.tokens[token].owner if token in self.model.state.tokens else ZERO
        self.both(
            "transfer",
            lambda time: self.model.transfer(str(sender), str(to), token, time),
            lambda: self.characters.transferFrom(owner, to, token, {"from": sender}),
        )

    def rule_burn(self):
        sender, token = self.managed()
        self.both(
            "burn",
            lambda time: self.model.transfer(str(sender), ZERO, token, time),
            lambda: self.characters.burn(token, {"from": sender}),
        )

    def rule_lend(self):
        sender, token = self.managed()
        found = self.model.state.tokens.get(token)
        user = self.chance.choice([str(self.anyone()), str(self.anyone()), ZERO, found.user if found else ZERO])
        expires = (
            0
            if user == ZERO and self.chance.random() < 0.8
            else now() + self.chance.choice([-1, 1, 2, 4, 8, 400]) * DAY
        )
        if self.both(
            "lend",
            lambda time: self.model.set_user(str(sender), token, user, expires, time),
            lambda: self.characters.setUser(token, user, expires, {"from": sender}),
        ):
            self.promised[token] = (user, expires)

    def rule_end_use(self):
        token = self.token()
        found = self.model.state.tokens.get(token)
        user = found.user if found and found.user != ZERO and self.chance.random() < 0.7 else str(self.anyone())
        if self.both(
            "end_use",
            lambda time: self.model.end_use(user, token, time),
            lambda: self.characters.endUse(token, {"from": user}),
        ):
            del self.promised[token]

    def rule_check_in(self):
        token, sender = self.token(4), self.chance.choice([self.organiser, self.organiser, self.anyone()])
        self.both(
            "check_in",
            lambda time: self.model.check_in(str(sender), token, time),
            lambda: self.characters.checkIn(token, {"from": sender}),
        )

    def rule_trait(self):
        token, sender = self.token(2, 4), self.chance.choice([self.organiser, self.organiser, self.anyone()])
        key, value = self.chance.choice([LEVEL, LEVEL, LEVEL, CHECKED_IN, GAME]), self.chance.randbytes(32)
        self.both(
            "trait",
            lambda _: self.model.set_trait(str(sender), token, key, value),
            lambda: self.characters.setTrait(token, key, value, {"from": sender}),
        )

    def rule_metadata(self):
        token, sender = self.token(2, 4), self.chance.choice([self.organiser, self.anyone()])
        digest = self.chance.randbytes(32)
        self.both(
            "metadata",
            lambda _: self.model.set_metadata(str(sender), token, digest),
            lambda: self.characters.setMetadata(token, digest, {"from": sender}),
        )

    def rule_export(self):
        (sender, token), platform = self.managed(), self.chance.choice([GAME, ARENA, GAME, ARENA, LEVEL])
        return self.both(
            "export",
            lambda time: self.model.export(str(sender), token, platform, time),
            lambda: self.characters.exportTo(token, platform, {"from": sender}),
        )

    def rule_import(self):
        """By a fresh signature of either platform, or by any that there ever was."""
        sender = self.anyone()
        exported = [n for n, token in self.model.state.tokens.items() if token.exported_to != NONE]
        if not exported and self.chance.random() < 0.8:
            return self.rule_export()
        token = self.chance.choice(exported) if exported else self.token()
        found = self.model.state.tokens.get(token)
        number = found.exports if found else 0
        index = self.chance.choice([*PLATFORMS.values()])
        platform = found.exported_to if found and found.exported_to != NONE else GAME
        if self.chance.random() < 0.6:
            index = PLATFORMS[platform]
        args = signed_import(self.characters, keyed(index).key, token, number, platform=platform)
        self.signed.append((args, keyed(index).address, number))
        again = self.chance.random() < 0.3
        return self.try_import(sender, *(self.chance.choice(self.signed) if again else self.signed[-1]))

    def try_import(self, sender, args, signer, number):
        return self.both(
            "import",
            lambda _: self.model.import_(str(sender), args[0], args[1], signer, number),
            lambda: self.characters.importFrom(*args, {"from": sender}),
        )

    def rule_replay(self):
        """The signature that brings a token back is tried again as soon as the token has left again."""
        token, platform = self.token(), GAME
        found = self.model.state.tokens.get(token)
        if found is None or found.owner == ZERO:
            return
        owner, number = self.accounts.at(found.owner), found.exports + 1
        args = signed_import(self.characters, keyed(9).key, token, number)
        for _ in range(2):
            self.both(
                "export",
                lambda time: self.model.export(str(owner), token, platform, time),
                lambda: self.characters.exportTo(token, platform, {"from": owner}),
            )
            self.try_import(owner, args, keyed(9).address, number)

    def rule_platform(self):
        """A platform is removed, or comes back."""
        platform = self.chance.choice([*PLATFORMS])
        key = ZERO if self.chance.random() < 0.25 else keyed(PLATFORMS[platform]).address
        self.characters.setPlatform(platform, key, {"from": self.admin})
        self.model.state.PlatformSet(platform, key)

    def rule_status(self):
        """The work is suspended, or reinstated."""
        status = self.chance.choice([ACTIVE, ACTIVE, SUSPENDED])
        if status != self.model.status.get(self.work, ACTIVE):
            self.registry.setStatus(self.work, status, NONE, {"from": self.admin})
        self.model.status[self.work] = status

    def rule_wait(self):
        mine_at(now() + self.chance.randrange(1, 3) * DAY)

    # ----------------------------------------------------------------------------------------------------- invariants

    def invariant_getters_are_the_models(self):
        characters, balances = self.characters, Counter()
        for class_id, one in self.model.state.classes.items():
            assert shown(characters.classOf(class_id)) == one.shown
        for number, token in self.model.state.tokens.items():
            if token.owner == ZERO:
                continue
            balances[token.owner] += 1
            one, time = self.model.class_of(number), now()
            user = token.user if time < token.expires else ZERO
            assert characters.ownerOf(number) == token.owner
            assert (characters.userOf(number), characters.userExpires(number)) == (user, token.expires)
            assert characters.holderOf(number) == (token.owner if user == ZERO else user)
            assert str(characters.exportedTo(number)) == hexed(token.exported_to)
            assert characters.exportsOf(number) == token.exports
            assert characters.locked(number) == (one.soulbound or token.exported_to != NONE)
            keys = sorted(one.traits)
            values = [str(value) for value in characters.getTraitValues(number, keys)]
            assert values == [hexed(token.traits.get(key, NONE)) for key in keys]
        for person in self.people:
            assert characters.balanceOf(person) == balances[str(person)]

    def invariant_supply_is_never_exceeded_nor_given_back(self):
        for class_id, one in self.model.state.classes.items():
            made = int(self.characters.classOf(class_id)[2])
            alive = [n for n, t in self.model.state.tokens.items() if n >> 32 == class_id and t.owner != ZERO]
            assert len(alive) <= made <= one.supply
            assert made >= self.seen.get(class_id, 0)
            self.seen[class_id] = made

    def invariant_soulbound_tokens_stay_with_their_first_owner(self):
        for number, first in self.born_to.items():
            if self.model.state.tokens[number].owner != ZERO:
                assert self.characters.ownerOf(number) == first

    def invariant_nobody_took_a_token_from_its_user(self):
        for number, (user, until) in self.promised.items():
            if now() < until:
                assert self.characters.userOf(number) == user

    def invariant_used_tickets_stay_used(self):
        for number, token in self.model.state.tokens.items():
            if token.owner == ZERO:
                continue
            at = int(self.characters.checkedInAt(number))
            assert at == self.seen.get(("used", number), at)
            if at:
                self.seen["used", number] = at


def shown(answer):
    """A class as the contract tells it, in Python's own types."""
    return tuple(
        str(part) if isinstance(part, str | bytes) else bool(part) if isinstance(part, bool) else int(part)
        for part in answer
    )


def deployed(contract, authority, registry, accounts):
    """The contract, in which accounts[2] has the role that mints."""
    made = contract.deploy(authority, registry, "", "", {"from": accounts[0]})
    authority.setTargetFunctionRole(made, [made.signatures["mint"]], SELLER, {"from": accounts[0]})
    authority.grantRole(SELLER, accounts[2], 0, {"from": accounts[0]})
    return made


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_characters_follow_their_model(authority, registry, accounts, work, seed, reached):
    """Every outcome and getter through a random history, the invariants, and the state from events alone."""
    characters = deployed(Characters, authority, registry, accounts)
    machine = Machine(characters, registry, accounts, work, seed).run()
    machine.check()
    assert folded(FoldedCharacters(), logs_of(characters)) == machine.model.state
    reached.add(machine.outcomes)


def test_stateful_histories_of_characters_got_somewhere(reached):
    reached.demand(dict.fromkeys(((name, None) for name in ("mint", "transfer", "lend", "export", "import")), 2))
    reached.demand({("transfer", "CharacterRented"): 0.3, ("import", "CharacterInvalidSigner"): 1})


def run_until_it_differs(contract, authority, registry, accounts, work, model):
    for seed in range(4):
        Machine(deployed(contract, authority, registry, accounts), registry, accounts, work, seed, model).run()


def test_stateful_comparison_finds_the_planted_bug(authority, registry, accounts, work):
    """Characters whose owners take a lent token from its user must not pass."""
    with pytest.raises(AssertionError, match="ended with None, the model with CharacterRented"):
        run_until_it_differs(EvictingCharacters, authority, registry, accounts, work, Model)


class ReplayModel(Model):
    """Takes a platform's signature for any export of the token."""

    def import_(self, sender, token, platform, signer, number):
        found = self.state.tokens.get(token)
        super().import_(sender, token, platform, signer, found.exports if found else number)


class RevivingModel(Model):
    """Lets what was burned be minted again."""

    def transfer(self, sender, to, token, time):
        super().transfer(sender, to, token, time)
        self.class_of(token).minted -= to == ZERO


@pytest.mark.parametrize("broken", [ReplayModel, RevivingModel])
def test_stateful_comparison_finds_a_broken_model(authority, registry, accounts, work, broken):
    """A model with one rule wrong must not pass: else the comparison shows nothing."""
    with pytest.raises(AssertionError):
        run_until_it_differs(Characters, authority, registry, accounts, work, broken)
