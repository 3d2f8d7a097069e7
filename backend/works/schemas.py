"""What the works' routes take and give."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Final, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from backend.intents import Intent
from backend.schemas import AddressStr, Amount, AsOf, Hash32, Schema, Time
from backend.works.metadata import MAX_DURATION_MS, MAX_TITLE, clean, printable
from backend.works.rules import MAX_PARENTS, MAX_UPSTREAM_BPS, AiLabel, Kind

MAX_CONTRIBUTORS: Final = 1_000
MAX_CONSENTS: Final = 16
MAX_SAFE_INTEGER: Final = 2**53 - 1
"""JSON numbers above this lose digits in JavaScript."""
MAX_METADATA_FIELD_BYTES: Final = 262_144

KindName = Literal["other", "story", "song", "video", "game", "character", "event", "world", "image"]
LabelName = Literal["unspecified", "human", "ai_assisted", "ai_generated"]
StatusName = Literal["active", "disputed", "suspended", "suspended_disputed", "revoked"]
StageName = Literal["received", "seen", "final"]

Relation = Literal["self", "ancestor", "descendant"]

_LANGUAGE: Final = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8}){0,4}")


def _line(value: str) -> str:
    if not printable(value):
        raise ValueError("it holds characters that can't be shown (controls, line breaks, direction overrides)")
    return clean(value)


def lines(value: str) -> str:
    """Text of several lines that can be shown, without blanks around it. Raises ValueError."""
    value = value.replace("\r\n", "\n")
    if not printable(value, lines=True):
        raise ValueError("it holds characters that can't be shown (controls, direction overrides)")
    return clean(value)


def _language(value: str) -> str:
    if not _LANGUAGE.fullmatch(value):
        raise ValueError("a language is a BCP 47 tag such as en or pt-BR")
    return value


Title = Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=MAX_TITLE)]
Words = Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=100)]
WorkIdIn = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]


class ParentIn(Schema):
    """A work that this one derives from, and the royalty offered to it."""

    work_id: WorkIdIn
    share_bps: int = Field(strict=True, ge=0, le=MAX_UPSTREAM_BPS, description="In basis points: 500 is 5%")


class ContributorIn(Schema):
    """A holder of the first split."""

    account: AddressStr
    weight: int = Field(strict=True, ge=1, le=MAX_SAFE_INTEGER, description="Its share is weight over all weights")


class DraftIn(Schema):
    """What an author says of a work: the form field `metadata`."""

    title: Title
    description: Annotated[str, AfterValidator(lines), Field(max_length=10_000)] = ""
    kind: KindName
    licence_id: int = Field(
        0, strict=True, ge=0, le=2**32 - 1, description="Licence for derivations of the work; 0: none may be made"
    )
    ai_label: LabelName
    ai_tools: list[Words] = Field([], max_length=20, description="Named when a model had a part in the work")
    parents: list[ParentIn] = Field([], max_length=MAX_PARENTS)
    contributors: list[ContributorIn] = Field([], max_length=MAX_CONTRIBUTORS, description="Empty: the owner alone")
    consents: list[Hash32] = Field(
        [], max_length=MAX_CONSENTS, description="Uids of attested consents (likeness, voice, data) to this very file"
    )
    language: Annotated[str, AfterValidator(_language)] | None = Field(None, examples=["en", "pt-BR"])
    tags: list[Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=40)]] = Field([], max_length=20)
    duration_ms: int | None = Field(
        None, strict=True, ge=1, le=MAX_DURATION_MS, description="How long a film or a song takes, in milliseconds"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        made_by_model = self.ai_label in ("ai_assisted", "ai_generated")
        if made_by_model and not self.ai_tools:
            raise ValueError("name the tools in ai_tools: the label says that a model had a part")
        if self.ai_tools and not made_by_model:
            raise ValueError(f"ai_tools are named, and the label is {self.ai_label}")
        for what, values in (
            ("parent", [parent.work_id for parent in self.parents]),
            ("contributor", [contributor.account for contributor in self.contributors]),
            ("tag", self.tags),
            ("consent", self.consents),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"a {what} is named twice")
        return self


class MediaOut(Schema):
    """A file by its content."""

    cid: str = Field(examples=["bafkreigu6cpfywxztismpyyezj4zputmwaeqc2l54cfetpqni2vvqonwcq"])
    url: str = Field(
        description="Where this API serves it; a draft's file to its author alone", examples=["/v1/content/bafkrei..."]
    )
    media_type: str | None = Field(examples=["image/png"])


class ParentOut(Schema):
    """A recorded derivation: from which work, for which share, under which licence."""

    work_id: int
    share_bps: int
    absolute: bool | None = Field(description="Of direct payments only (true) or of all revenue; null in a draft")
    licence_id: int | None = Field(description="The parent's licence at the time; null in a draft")


class DraftOut(Schema):
    """A draft and how far it has come."""

    id: uuid.UUID
    created_at: Time
    stage: StageName = Field(description="`received`: here only; `seen`: registered; `final`: for good")
    work_id: int | None = Field(description="Once it is registered")
    title: str
    kind: KindName
    ai_label: LabelName
    licence_id: int
    parents: list[ParentOut]
    content_hash: Hash32
    media: MediaOut
    metadata: MediaOut
    split: MediaOut


class DraftPage(Schema):
    """A page of one's own drafts, newest first."""

    items: list[DraftOut]
    next: str | None = Field(description="Cursor of the next page")
    as_of: AsOf | None


class RegistrationIntents(Schema):
    """The transactions that register a draft. `commit` is optional; it has to be mined before `register`."""

    register_: Intent = Field(alias="register", serialization_alias="register")
    commit: Intent
    as_of: AsOf


class WorkOut(Schema):
    """A registered work."""

    work_id: int
    title: str | None = Field(description="From the metadata file, if that is kept here and names one")
    description: str | None
    kind: str = Field(description="A kind of this platform, or `kind-<number>`")
    owner: AddressStr
    creator: AddressStr = Field(description="Who registered it, or won the latest dispute about it")
    ai_label: LabelName
    ai_tools: list[str]
    licence_id: int
    status: StatusName
    content_hash: Hash32
    metadata_cid: str
    media: MediaOut | None
    duration_ms: int | None = Field(description="Of a film or a song, as its author says")
    language: str | None
    tags: list[str]
    parents: list[ParentOut]
    stage: StageName
    registered_at: Time
    block: int
    tx_hash: Hash32


class WorkAnswer(WorkOut):
    """A registered work, and the block that this was read at."""

    as_of: AsOf


class WorkPage(Schema):
    """A page of works, newest first."""

    items: list[WorkOut]
    next: str | None = Field(description="Cursor of the next page")
    as_of: AsOf


class ProvenanceNode(Schema):
    """A work in the graph: who, when, under which licence, with which content."""

    work_id: int
    relation: Relation
    creator: AddressStr
    owner: AddressStr
    content_hash: Hash32
    licence_id: int
    ai_label: LabelName
    status: StatusName
    registered_at: Time
    block: int
    tx_hash: Hash32
    stage: StageName


class ProvenanceEdge(Schema):
    """`work_id` was registered as a derivation of `parent_id`."""

    work_id: int
    parent_id: int
    share_bps: int
    absolute: bool
    licence_id: int


class Provenance(Schema):
    """All ancestors and descendants of a work, and how they derive from each other."""

    work_id: int
    nodes: list[ProvenanceNode]
    edges: list[ProvenanceEdge]
    truncated: bool = Field(description="There are more descendants than are shown")
    as_of: AsOf


class ProofNode(Schema):
    """A sibling on the way from a leaf to the root."""

    hash: Hash32
    sum: Amount


class LeafOut(Schema):
    """A share: its holder, and the proof that the ledger asks for."""

    account: AddressStr | None = Field(description="Null where its holder did not publish the tree that it stands for")
    weight: Amount
    position: Amount = Field(description="(1 << length of the proof) | path")
    path: Amount
    proof: list[ProofNode]


class SplitVersion(Schema):
    """One state of a split. `leaves` is null where its tree file is not known here."""

    version: int | None = Field(description="Null for what is gathered and not live yet")
    root: Hash32
    total_weight: Amount
    leaves: list[LeafOut] | None
    next: str | None = Field(description="Cursor of the next page of leaves")


class SplitOut(Schema):
    """Who holds a work's revenue."""

    work_id: int
    live: SplitVersion
    pending: SplitVersion | None = Field(description="What the next version will be")
    as_of: AsOf


class TermsIn(Schema):
    """Licence terms. All of them bind from the creation on, and never change."""

    title: Title
    text: Annotated[str, AfterValidator(lines), Field(max_length=100_000)] = Field(
        "", description="The full terms in words; pinned with the rest under `terms_hash`"
    )
    min_share_bps: int = Field(0, strict=True, ge=0, le=MAX_UPSTREAM_BPS)
    commercial: bool = Field(False, strict=True)
    derivatives: bool = Field(False, strict=True)
    approval_required: bool = Field(False, strict=True)
    share_alike: bool = Field(False, strict=True)
    attribution: bool = Field(True, strict=True)
    fan_fiction: bool = Field(False, strict=True)
    relative: bool = Field(False, strict=True, description="Royalty of all revenue; else of direct payments only")
    ai_training: bool = Field(False, strict=True)
    expires: int = Field(0, strict=True, ge=0, le=2**48 - 1, description="Chain time in seconds; 0: never")
    territory: list[Annotated[str, Field(pattern="^[A-Z]{2}$")]] = Field(
        [], max_length=250, description="ISO 3166 codes where the work may be shown; empty: everywhere"
    )


class LicenceOut(Schema):
    """A licence that works can be registered under."""

    licence_id: int
    creator: AddressStr
    min_share_bps: int
    commercial: bool
    derivatives: bool
    approval_required: bool
    share_alike: bool
    attribution: bool
    fan_fiction: bool
    relative: bool
    ai_training: bool
    expires: int = Field(description="Chain time in seconds; 0: never")
    terms_hash: Hash32
    terms_url: str | None = Field(description="The full terms, if they are kept here")
    created_at: Time


class LicencePage(Schema):
    """A page of licences, oldest first."""

    items: list[LicenceOut]
    next: str | None
    as_of: AsOf


class LicenceTemplate(Schema):
    """Terms to start from: send `terms` to `POST /v1/licences/intent`."""

    name: str
    summary: str
    terms: TermsIn


class LicenceIntent(Schema):
    """The transaction that creates a licence, and where its full terms are kept."""

    intent: Intent
    terms_hash: Hash32
    terms_url: str


class ConsentOut(Schema):
    """An attested consent that a work was registered with. Whose word it is, is for the reader to judge."""

    uid: Hash32
    kind: Literal["likeness_consent", "voice_consent", "data_consent"]
    attester: AddressStr
    live: bool = Field(description="False once it was taken back or has ended: then anybody can suspend the work")


class DisputeOut(Schema):
    """A dispute that runs."""

    claimant: AddressStr
    committed_at: Time = Field(description="When the claimant had committed to the file")
    bond: Amount
    ruling_until: Time
    enforceable_at: Time | None = Field(description="From then on the announced split can be put in force")
    root: Hash32 | None
    tree_digest: Hash32 | None


class EndedDispute(Schema):
    """A dispute that is over."""

    claimant: AddressStr
    outcome: Literal["enforced", "dismissed", "expired", "revoked", "superseded"]
    bond: Amount
    ended_at: Time


class StandingOut(Schema):
    """A work's standing."""

    work_id: int
    status: StatusName
    dispute: DisputeOut | None
    bond: Amount = Field(description="What contesting it takes now, in base units of the platform's token")
    older_than: Time = Field(description="Only who committed to the file before that can contest it")
    ended: list[EndedDispute]
    consents: list[ConsentOut]
    as_of: AsOf


class ContestIn(Schema):
    """With which commitment."""

    salt: Hash32 | None = Field(None, description="Null: that of your own draft of the same file")


class ContestIntent(Schema):
    """The transactions that contest a work, in this order."""

    intents: list[Intent]
    bond: Amount
    bond_token: AddressStr
    committed_at: Time
    as_of: AsOf


class ApprovalIn(Schema):
    """Which derivation the owner of a work lets through."""

    deriver: AddressStr
    content_hash: Hash32 = Field(description="sha256 of the derivation's media file")


class ApprovalIntent(Schema):
    """The transaction that approves a derivation."""

    intent: Intent


def kind_name(kind: int) -> KindName:
    """The word for one of this platform's kinds. Raises ValueError for another number."""
    return cast(KindName, Kind(kind).name.lower())


def label_name(label: int) -> LabelName:
    """The word for an AI label."""
    return cast(LabelName, AiLabel(label).name.lower())
