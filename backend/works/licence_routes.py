"""Licences over HTTP: what exists, templates to start from, and the transaction that creates one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from backend.content import service as content
from backend.content.media import TEXT
from backend.content.routes import Store
from backend.deps import Chain, DbSession
from backend.edge.scoped import WorksAuthor
from backend.errors import Problem
from backend.intents import call_intent
from backend.mirror import ChainHead
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.personalization.showing.limits import know_territory
from backend.works import catalogue, service
from backend.works.licences import TEMPLATES, Terms, terms_document
from backend.works.schemas import LicenceIntent, LicenceOut, LicencePage, LicenceTemplate, TermsIn

router = APIRouter(prefix="/v1/licences", tags=["works"])


@router.get("")
def list_licences(
    session: DbSession, head: ChainHead, *, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> LicencePage:
    """Licences that works can be registered under, oldest first."""
    after = decode_cursor("licences", cursor, int)[0] if cursor else 0
    rows, following = page(
        catalogue.list_licences(session, after=after, limit=limit + 1),
        limit,
        lambda row: encode_cursor("licences", int(row["licence_id"])),
    )
    return LicencePage(items=catalogue.show_licences(session, rows), next=following, as_of=head.as_of)


@router.get("/templates")
def list_licence_templates() -> list[LicenceTemplate]:
    """Terms to start from, each with a sentence that says what they mean."""
    return [
        LicenceTemplate(
            name=template.name,
            summary=template.summary,
            terms=TermsIn(
                title=template.title,
                text=template.summary,
                **{name: getattr(template.terms, name) for name in Terms.__dataclass_fields__},
            ),
        )
        for template in TEMPLATES
    ]


@router.get("/{licence_id}", responses={404: {"model": Problem, "description": "`licence_not_found`"}})
def get_licence(licence_id: Annotated[int, Path(ge=1, le=2**32 - 1)], session: DbSession) -> LicenceOut:
    """One licence."""
    return catalogue.show_licences(session, [catalogue.find_licence(session, licence_id)])[0]


@router.post("/intent")
def create_licence(
    wanted: TermsIn, session: DbSession, me: WorksAuthor, chain: Chain, *, store: Store
) -> LicenceIntent:
    """The unsigned transaction that creates a licence.

    The full terms are pinned, and the transaction carries their sha256, so that anyone can read what they agreed to.
    """
    terms = Terms(**{name: getattr(wanted, name) for name in Terms.__dataclass_fields__})
    territory = sorted(set(wanted.territory))
    document = terms_document(terms, wanted.title, wanted.text, territory)
    kept = content.keep(session, store, [document], TEXT)
    know_territory(session, kept.sha256, territory)
    struct = (*(getattr(terms, name) for name in Terms.__dataclass_fields__), kept.sha256)
    intent = call_intent(
        chain, service.REGISTRY, "createLicence", [struct], description=f"Create the licence “{wanted.title}”"
    )
    return LicenceIntent(intent=intent, terms_hash=kept.sha256, terms_url=catalogue.content_url(kept.cid))
