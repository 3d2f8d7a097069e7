"""What personal data may be used for. Each purpose is asked for by itself and is off until a person turns it on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256


class Purpose(StrEnum):
    """The purposes a person can allow; the values stand in URLs, receipts and the data-use log."""

    BEHAVIOUR = "behaviour"
    CONTENT_TASTE = "content_taste"
    SOCIAL = "social"
    LOCATION_TIME = "location_time"
    RESEARCH = "research"
    AGENT = "agent"
    ADVERTISING = "advertising"


@dataclass(frozen=True)
class Notice:
    """The words a person agreed to. A changed text is a new version, and is asked for anew.

    Answers to an older version count no more, unless `accepts` says that the new text asks for nothing beyond it.
    """

    version: int
    title: str
    text: str
    accepts: int = 0
    """The oldest version whose answers still count under this one; 0: none but its own."""

    def __post_init__(self) -> None:
        if not self.accepts:
            object.__setattr__(self, "accepts", self.version)
        if not 1 <= self.accepts <= self.version:
            raise ValueError(f"a notice of version {self.version} cannot accept answers to version {self.accepts}")

    @property
    def digest(self) -> bytes:
        """sha256 of version, title and text: what the receipt commits to."""
        return sha256(f"{self.version}\n{self.title}\n{self.text}".encode()).digest()


NOTICES: dict[Purpose, Notice] = {  # what is shown today; its digest is frozen in tests/backend/consent/notices.json
    Purpose.BEHAVIOUR: Notice(
        2,
        "Keep what I do",
        "We store what you are shown, play, finish, skip, like and hide under your account. It counts towards what "
        "creators earn, shows which ways of choosing are good, and you can see and delete it. Without this, your plays "
        "are counted without your name and forgotten as yours.",
    ),
    Purpose.CONTENT_TASTE: Notice(
        1,
        "Choose for me",
        "We use what you did here to choose what you see, and say why each item is there. Without this you see what "
        "is popular and new.",
    ),
    Purpose.SOCIAL: Notice(
        1,
        "Find kindred people",
        "We compare your taste with that of others who allow the same, without showing anybody what you watched.",
    ),
    Purpose.LOCATION_TIME: Notice(
        2,
        "Use place, device and hour",
        "With what you do we keep the territory that you stated and the kind of device, and use them and the time of "
        "day to choose what fits the moment.",
    ),
    Purpose.RESEARCH: Notice(
        1,
        "Study how it works",
        "We include your data in published statistics that are protected by differential privacy.",
    ),
    Purpose.AGENT: Notice(
        1,
        "Let my agent read",
        "A program that you named may read your taste and history within the scopes you gave.",
    ),
    Purpose.ADVERTISING: Notice(
        1, "Fit the advertising", "Advertisements may be chosen by your taste; no advertiser learns who you are."
    ),
}
