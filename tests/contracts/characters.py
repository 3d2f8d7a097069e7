"""What the tests of Characters share: classes and tokens with sensible defaults, imports, events folded, the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kit
from eth_utils import keccak
from kit import DAY, ZERO, Refused, domain, sign
from money import NONE, SUSPENDED, hexed
from works import CID

GAS_FILE = Path(__file__).with_name("gas_characters.json")
FOR_EVER = 2**48 - 1
MAX_USE = 366 * DAY
GAME = keccak(text="a game")
ARENA = keccak(text="an arena")
LEVEL = keccak(text="level")
CHECKED_IN = keccak(text="checkedIn")
IMPORT = [("uint256", "tokenId"), ("bytes32", "platformId"), ("uint24", "exportNumber"), ("uint48", "deadline")]


def within_budget(operation: str, tx: Any) -> None:
    """kit.within_budget with the budgets of Characters."""
    kit.within_budget(operation, tx, GAS_FILE)


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
        self.tokens[tokenId].exported_to = platformId
        self.tokens[tokenId].exports += 1

    def Imported(self, tokenId: int, platformId: bytes) -> None:
        self.tokens[tokenId].exported_to = NONE

    def PlatformSet(self, platformId: bytes, key: str) -> None:
        self.platforms[platformId] = key


@dataclass
class Model:
    """Characters without a chain: what it would refuse, and its state afterwards. Works and roles are given."""

    owners: dict[int, str]
    minter: str
    status: dict[int, int] = field(default_factory=dict)
    state: FoldedCharacters = field(default_factory=FoldedCharacters)
    approved: dict[int, str] = field(default_factory=dict)

    def mint(self, sender: str, to: str, class_id: int, digest: bytes) -> None:
        one = self.state.classes.get(class_id)
        if one is None:
            raise Refused("CharacterClassUnknown")
        if one.platform != NONE:
            if sender != self.state.platforms[one.platform]:
                raise Refused("CharacterUnauthorized")
        elif sender not in (self.owners[one.work], self.minter):
            raise Refused("AccessManagedUnauthorized")
        if self.status.get(one.work, 0) >= SUSPENDED:
            raise Refused("CharacterWorkStatus")
        if one.minted == one.supply:
            raise Refused("CharacterSupplyExceeded")
        one.minted += 1
        self.state.tokens[token_id(class_id, one.minted)] = FoldedToken(digest, to)

    def approve(self, sender: str, to: str, token: int) -> None:
        if sender != self._alive(token).owner:
            raise Refused("ERC721InvalidApprover")
        self.approved[token] = to

    def transfer(self, sender: str, to: str, token: int, time: int) -> None:
        """From its owner; nobody is a burn."""
        found = self._managed(sender, token)
        if to != ZERO and self.class_of(token).soulbound:
            raise Refused("CharacterSoulbound")
        self._check_here(found)
        self.check_not_rented(found, time)
        found.owner, found.user, found.expires = to, ZERO, 0
        self.approved.pop(token, None)

    def set_user(self, sender: str, token: int, user: str, expires: int, time: int) -> None:
        found = self._managed(sender, token)
        if self.class_of(token).soulbound:
            raise Refused("CharacterSoulbound")
        self._check_here(found)
        if not (expires == 0 if user == ZERO else time < expires <= time + MAX_USE):
            raise Refused("CharacterExpiryInvalid")
        if (user, max(expires, found.expires)) != (found.user, expires):
            self.check_not_rented(found, time)
        found.user, found.expires = user, expires

    def end_use(self, sender: str, token: int, time: int) -> None:
        found = self.state.tokens.get(token)
        if found is None or time >= found.expires or sender != found.user:
            raise Refused("CharacterNotUser")
        found.user, found.expires = ZERO, 0

    def check_in(self, sender: str, token: int, time: int) -> None:
        found, one = self._alive(token), self.class_of(token)
        if not one.ticket:
            raise Refused("CharacterNotTicket")
        if sender != one.organiser:
            raise Refused("CharacterUnauthorized")
        self._check_here(found)
        if CHECKED_IN in found.traits:
            raise Refused("CharacterAlreadyCheckedIn")
        found.traits[CHECKED_IN] = time.to_bytes(32, "big")

    def set_trait(self, sender: str, token: int, key: bytes, value: bytes) -> None:
        found = self._dynamic(sender, token)
        if key == CHECKED_IN:
            raise Refused("CharacterTraitReserved")
        if key not in self.class_of(token).traits:
            raise Refused("TraitKeyUnknown")
        found.traits[key] = value

    def set_metadata(self, sender: str, token: int, digest: bytes) -> None:
        self._dynamic(sender, token).digest = digest

    def export(self, sender: str, token: int, platform: bytes, time: int) -> None:
        found = self._managed(sender, token)
        if self.state.platforms.get(platform, ZERO) == ZERO:
            raise Refused("CharacterPlatformUnknown")
        self._check_here(found)
        self.check_not_rented(found, time)
        found.exported_to, found.exports = platform, found.exports + 1

    def import_(self, sender: str, token: int, platform: bytes, signer: str, number: int) -> None:
        """`signer` signed for the export of that number."""
        found = self.state.tokens.get(token)
        if found is None or found.exported_to != platform:
            raise Refused("CharacterNotExported")
        if self.state.platforms[platform] == ZERO:
            self._managed(sender, token)
        elif (signer, number) != (self.state.platforms[platform], self.awaited(found)):
            raise Refused("CharacterInvalidSigner")
        found.exported_to = NONE

    def awaited(self, found: FoldedToken) -> int:
        """Number of the export that a signature has to be for."""
        return found.exports

    def check_not_rented(self, found: FoldedToken, time: int) -> None:
        if time < found.expires:
            raise Refused("CharacterRented")

    def class_of(self, token: int) -> FoldedClass:
        return self.state.classes[token >> 32]

    def _alive(self, token: int) -> FoldedToken:
        found = self.state.tokens.get(token)
        if found is None or found.owner == ZERO:
            raise Refused("ERC721NonexistentToken")
        return found

    def _managed(self, sender: str, token: int) -> FoldedToken:
        found = self._alive(token)
        if sender not in (found.owner, self.approved.get(token)):
            raise Refused("ERC721InsufficientApproval")
        return found

    def _dynamic(self, sender: str, token: int) -> FoldedToken:
        found = self._alive(token)
        if sender != self.class_of(token).trait_setter:
            raise Refused("CharacterUnauthorized")
        return found

    def _check_here(self, found: FoldedToken) -> None:
        if found.exported_to != NONE:
            raise Refused("CharacterLocked")
