"""What the tests of Characters share: classes and tokens with sensible defaults, imports, the model, events folded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import kit
from eth_utils import keccak
from kit import ZERO, domain, sign
from money import NONE, hexed
from works import CID

GAS_FILE = Path(__file__).with_name("gas_characters.json")
FOR_EVER = 2**48 - 1
GAME = keccak(text="a game")
ARENA = keccak(text="an arena")
LEVEL = keccak(text="level")
CHECKED_IN = keccak(text="checkedIn")
IMPORT = [("uint256", "tokenId"), ("bytes32", "platformId"), ("uint24", "exportNumber"), ("uint48", "deadline")]


def within_budget(operation: str, gas: int) -> None:
    """kit.within_budget with the budgets of Characters."""
    kit.within_budget(operation, gas, GAS_FILE)


def class_params(work: int, **given: Any) -> tuple[Any, ...]:
    """ClassParams: a hundred plain characters, if not told otherwise."""
    fields = {
        "workId": work,
        "maxSupply": 100,
        "rarity": 0,
        "soulbound": False,
        "ticket": False,
        "traitSetter": ZERO,
        "organiser": ZERO,
        "platformId": NONE,
    }
    assert not set(given) - set(fields)
    return tuple(str(value) if hasattr(value, "address") else value for value in (fields | given).values())


def class_created(characters: Any, work: int, owner: Any, **given: Any) -> int:
    """Create a class; returns its id."""
    tx = characters.createClass(class_params(work, **given), {"from": owner})
    return int(tx.events["ClassCreated"]["classId"])


def token_id(class_id: int, number: int) -> int:
    """Id of the number-th token of a class."""
    return class_id << 32 | number


def minted(characters: Any, class_id: int, to: Any, sender: Any) -> int:
    """Mint a token; returns its id."""
    tx = characters.mint(to, class_id, CID, {"from": sender})
    return int(tx.events["CharacterMinted"]["tokenId"])


def signed_import(
    characters: Any,
    key: str,
    token: int,
    number: int,
    *,
    platform: bytes = GAME,
    deadline: int = FOR_EVER,
    **where: Any,
) -> list[Any]:
    """Arguments of `importFrom`; `where` changes the domain that is signed for."""
    message = {"tokenId": token, "platformId": platform, "exportNumber": number, "deadline": deadline}
    signature = sign(key, domain("Troupe Characters", characters) | where, "Import", IMPORT, message)
    return [token, platform, deadline, signature]


@dataclass
class FoldedClass:
    """A class: what classOf shows, and its traits."""

    work: int
    supply: int
    rarity: int
    soulbound: bool
    ticket: bool
    platform: bytes
    minted: int = 0
    trait_setter: str = ZERO
    organiser: str = ZERO
    traits: set[bytes] = field(default_factory=set)

    @property
    def shown(self) -> tuple[Any, ...]:
        """As `classOf` answers."""
        return (
            self.work,
            self.supply,
            self.minted,
            self.rarity,
            self.soulbound,
            self.ticket,
            self.trait_setter,
            self.organiser,
            hexed(self.platform),
        )


@dataclass
class FoldedToken:
    """A token that is alive, or was."""

    digest: bytes
    owner: str = ZERO
    user: str = ZERO
    expires: int = 0
    exported_to: bytes = NONE
    exports: int = 0
    traits: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class FoldedCharacters:
    """The state of Characters as its events tell it."""

    classes: dict[int, FoldedClass] = field(default_factory=dict)
    tokens: dict[int, FoldedToken] = field(default_factory=dict)
    platforms: dict[bytes, str] = field(default_factory=dict)

    def ClassCreated(
        self,
        classId: int,
        workId: int,
        maxSupply: int,
        rarity: int,
        soulbound: bool,
        ticket: bool,
        platformId: bytes,
    ) -> None:
        self.classes[classId] = FoldedClass(workId, maxSupply, rarity, soulbound, ticket, platformId)

    def OrganiserSet(self, classId: int, organiser: str) -> None:
        self.classes[classId].organiser = organiser

    def TraitSetterSet(self, classId: int, traitSetter: str) -> None:
        self.classes[classId].trait_setter = traitSetter

    def TraitKeyAdded(self, classId: int, traitKey: bytes) -> None:
        self.classes[classId].traits.add(traitKey)

    def CharacterMinted(self, tokenId: int, classId: int, to: str, cidDigest: bytes) -> None:
        self.classes[classId].minted += 1
        self.tokens[tokenId] = FoldedToken(cidDigest)

    def Transfer(self, tokenId: int, from_: str, to: str) -> None:
        self.tokens[tokenId].owner = to

    def MetadataChanged(self, tokenId: int, cidDigest: bytes) -> None:
        self.tokens[tokenId].digest = cidDigest

    def UpdateUser(self, tokenId: int, user: str, expires: int) -> None:
        self.tokens[tokenId].user, self.tokens[tokenId].expires = user, expires

    def TraitUpdated(self, traitKey: bytes, tokenId: int, traitValue: bytes) -> None:
        self.tokens[tokenId].traits[traitKey] = traitValue

    def Exported(self, tokenId: int, platformId: bytes, owner: str) -> None:
        token = self.tokens[tokenId]
        self.tokens[tokenId] = replace(token, exported_to=platformId, exports=token.exports + 1)

    def Imported(self, tokenId: int, platformId: bytes) -> None:
        self.tokens[tokenId].exported_to = NONE

    def PlatformSet(self, platformId: bytes, key: str) -> None:
        self.platforms[platformId] = key


def fold(events: Iterable[tuple[str, dict[str, Any]]]) -> FoldedCharacters:
    """Characters rebuilt from its events alone."""
    state = FoldedCharacters()
    for name, args in events:
        handler = getattr(state, name, None)
        if handler:
            handler(**{"from_" if key == "from" else key: value for key, value in args.items()})
    return state
