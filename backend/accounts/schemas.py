"""Bodies of the sign-in and session routes."""

from __future__ import annotations

import uuid

from pydantic import Field

from backend.accounts.roles import Role
from backend.accounts.wallets import SIGNATURE_LIMIT
from backend.consent.purposes import Purpose
from backend.schemas import AddressStr, HexBytes, Schema, Time


class NonceRequest(Schema):
    """Whose sign-in to prepare; without an address the caller builds the message."""

    address: AddressStr | None = Field(None, description="With it the answer holds the whole message to sign")


class Nonce(Schema):
    """What an EIP-4361 message must say to sign in here; `message` is it, ready to sign, when an address was given."""

    nonce: str = Field(examples=["3f1c0a9be2774d5c8a6b0d1e2f3a4b5c"])
    issued_at: Time = Field(description="The server's time; use it where the device's clock cannot be trusted")
    expires_at: Time = Field(description="Until then the nonce can be used, once")
    domain: str = Field(examples=["127.0.0.1:8000"])
    uri: str = Field(examples=["http://127.0.0.1:8000"])
    chain_id: int = Field(examples=[31337])
    version: str = Field(examples=["1"])
    statement: str
    message: str | None = Field(description="The message to sign with `personal_sign`")


class SignInRequest(Schema):
    """A signed EIP-4361 message."""

    message: str = Field(description="The text exactly as it was signed", max_length=8192)
    signature: HexBytes = Field(
        description="65 bytes: r, s, v of `personal_sign`. For a contract wallet whatever it takes (ERC-1271), and for"
        " one that is not deployed yet the wrapped signature of ERC-6492",
        max_length=SIGNATURE_LIMIT,
        examples=["0x" + "1b" * 65],
    )
    bring_along: bool = Field(
        False,
        description="Make what you did as a visitor yours; the request comes with the visitor's cookie or bearer token."
        " What you answered and set before with this address stands, and the visitor ends",
    )


class BroughtAlong(Schema):
    """What you did as a visitor and is yours now."""

    events: int = Field(description="How many; none unless you allow the purpose `behaviour`")
    consents: list[Purpose] = Field(description="Purposes that you had not answered; your answers as a visitor hold")


class SignIn(Schema):
    """An open session. The token is shown here once; browsers have it as an HttpOnly cookie too."""

    token: str = Field(description="Send it as `Authorization: Bearer`", examples=["q0W8..."])
    expires_at: Time
    address: AddressStr
    session_id: uuid.UUID
    brought_along: BroughtAlong | None = Field(
        description="None where it was not asked for, or there was no visitor, or data was frozen"
    )


class Visitor(Schema):
    """A visitor's session. The token is shown here once; browsers have it as an HttpOnly cookie too."""

    token: str = Field(description="Send it as `Authorization: Bearer`", examples=["q0W8..."])
    expires_at: Time = Field(description="Ask again before then to be kept longer")
    session_id: uuid.UUID


class SessionInfo(Schema):
    """A session of the signed-in account."""

    id: uuid.UUID
    created_at: Time
    expires_at: Time
    user_agent: str | None = Field(description="What the browser called itself at sign-in")
    current: bool = Field(description="Whether this request was made with it")


class SessionList(Schema):
    """The account's open sessions, newest first."""

    items: list[SessionInfo]


class Me(Schema):
    """The signed-in account, or the visitor."""

    address: AddressStr | None = Field(description="None for a visitor")
    visitor: bool = Field(description="Whether nobody signed in with a wallet")
    created_at: Time = Field(description="When it first signed in, or came")
    roles: list[Role] = Field(description="`moderator` by the chain, `operator` by this installation's settings")
