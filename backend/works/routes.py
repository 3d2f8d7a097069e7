"""Works over HTTP: drafts and the transactions that register them; what is registered; where it comes from."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from backend import mirror
from backend.content.media import served_as
from backend.content.routes import FILES, HEADERS, Store
from backend.content.uploads import MAX_UPLOAD_BYTES
from backend.deps import Chain, Core, CoreDep, DbSession, unit_of_work
from backend.edge.boundary import check_json
from backend.edge.scoped import WorksAuthor, WorksReader, WorksUploader
from backend.errors import AppError, Conflict, Forbidden, Invalid, Problem
from backend.intents import call_intent
from backend.mirror import ChainHead, Head, newest_first
from backend.models.accounts import Account
from backend.models.works import Draft
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.rewards.merkle import Node
from backend.schemas import AddressStr, Schema
from backend.works import catalogue, service
from backend.works.drafts import DraftFiles, Part, opened
from backend.works.rules import Kind
from backend.works.schemas import (
    MAX_METADATA_FIELD_BYTES,
    ApprovalIn,
    ApprovalIntent,
    DraftIn,
    DraftOut,
    DraftPage,
    KindName,
    LeafOut,
    MediaOut,
    ParentOut,
    ProofNode,
    Provenance,
    RegistrationIntents,
    SplitOut,
    SplitVersion,
    WorkAnswer,
    WorkOut,
    WorkPage,
    kind_name,
    label_name,
)
from backend.works.splits import SplitTree

router = APIRouter(prefix="/v1/works", tags=["works"])

WorkId = Annotated[int, Path(ge=0, le=2**63 - 1, description="The work's id in the registry")]
MULTIPART_OVERHEAD_BYTES: Final = 1024 * 1024


def get_draft_files(core: CoreDep) -> DraftFiles:
    """The sealed files of drafts."""
    return DraftFiles.of(core.settings, core.vault)


Files = Annotated[DraftFiles, Depends(get_draft_files)]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema with its own definitions put in their places, for use inside another document."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items() if name != "$defs"}


def _schema_of(model: type[Schema]) -> Any:
    schema = model.model_json_schema()
    return _inlined(schema, schema.get("$defs", {}))


_UPLOAD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "metadata"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The work itself"},
                        "metadata": _schema_of(DraftIn),
                    },
                },
                "encoding": {"metadata": {"contentType": "application/json"}},
            }
        },
    }
}


# --- drafts -----------------------------------------------------------------------------------------------------------


@router.post(
    "/drafts",
    status_code=201,
    max_body_size=MAX_UPLOAD_BYTES + MULTIPART_OVERHEAD_BYTES,
    openapi_extra=_UPLOAD_BODY,
    responses={
        409: {"model": Problem, "description": "`content_registered`: this very file is a work already"},
        413: {"model": Problem, "description": "`upload_too_large`, `body_too_large`"},
        415: {"model": Problem, "description": "`media_type_refused`, `unsupported_media_type`"},
        422: {"model": Problem, "description": "What the registry would refuse; `errors` has every reason"},
    },
)
async def create_draft(request: Request, core: CoreDep, person: WorksUploader, files: Files) -> DraftOut:
    """Upload a work with what is said of it, and get a draft that is ready to be registered.

    The file is judged by its bytes. Parents, licence and royalties are checked by the registry's own rules, so that the
    transaction of `GET /v1/works/drafts/{id}/intent` is one that the chain accepts. Nothing is kept unless all is well.
    `contributors` hold the work's revenue by weight; left out, the owner holds all of it.

    What you say and the file are sealed under your key: nobody but you reads them until the chain has the registration.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise AppError(
            415,
            "unsupported_media_type",
            "Unsupported media type",
            "Send multipart/form-data with the parts `file` and `metadata`.",
        )
    # signed in before the body is read; no database connection is held while it comes in
    async with request.form(max_files=2, max_fields=2, max_part_size=MAX_METADATA_FIELD_BYTES) as form:
        file, metadata = _parts([(name, part) for name, part in form.multi_items()])
        said = _read_metadata(await _bytes_of(metadata))
        return await run_in_threadpool(
            _create_draft, request, core, files, account_id=person.account_id, file=file, said=said
        )


def _parts(items: list[tuple[str, UploadFile | str]]) -> tuple[UploadFile, UploadFile | str]:
    parts = dict(items)
    if set(parts) != {"file", "metadata"} or len(items) != 2:
        names = ", ".join(sorted(name for name, _ in items)) or "nothing"
        raise Invalid(
            f"The form needs exactly the parts `file` and `metadata`; it has {names:.200}.", code="form_parts"
        )
    file = parts["file"]
    if not isinstance(file, UploadFile):
        raise Invalid("The part `file` must be a file (with a filename).", code="form_parts")
    return file, parts["metadata"]


async def _bytes_of(part: UploadFile | str) -> bytes:
    if isinstance(part, str):
        return part.encode(errors="surrogatepass")
    data = await part.read(MAX_METADATA_FIELD_BYTES + 1)
    if len(data) > MAX_METADATA_FIELD_BYTES:
        raise AppError(
            413,
            "body_too_large",
            "Request body too large",
            f"The part `metadata` may have {MAX_METADATA_FIELD_BYTES} bytes.",
            limit_bytes=MAX_METADATA_FIELD_BYTES,
        )
    return data


def _read_metadata(data: bytes) -> DraftIn:
    check_json(data)
    try:
        return DraftIn.model_validate_json(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        if problems[0]["type"] == "json_invalid":
            raise AppError(
                400, "malformed_json", "Malformed request", "The part `metadata` is not valid JSON."
            ) from error
        fields = [
            {
                "location": ".".join(("metadata", *map(str, problem["loc"]))),
                "message": problem["msg"].removeprefix("Value error, "),
                "code": problem["type"],
            }
            for problem in problems
        ]
        more = f" (and {len(fields) - 1} more)" if fields[1:] else ""
        raise Invalid(f"{fields[0]['location']}: {fields[0]['message']}{more}", errors=fields) from error


def _create_draft(
    request: Request, core: Core, files: DraftFiles, *, account_id: uuid.UUID, file: UploadFile, said: DraftIn
) -> DraftOut:
    with unit_of_work(request, core) as session:
        owner = session.get_one(Account, account_id)
        head = mirror.head(session)
        draft = service.create_draft(session, files=files, head=head, owner=owner, file=file.file, said=said)
        return _show_drafts(session, [draft], owner, head, files)[0]


@router.get("/drafts")
def list_drafts(
    session: DbSession,
    me: WorksReader,
    head: ChainHead,
    files: Files,
    *,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> DraftPage:
    """Your own drafts, newest first, each with how far it has come."""
    before = decode_cursor("drafts", cursor, uuid.UUID)[0] if cursor else None
    rows = service.list_drafts(session, owner=me, before=before, limit=limit + 1)
    drafts, following = page(rows, limit, lambda draft: encode_cursor("drafts", str(draft.id)))
    return DraftPage(items=_show_drafts(session, drafts, me, head, files), next=following, as_of=head.as_of)


@router.get("/drafts/{draft_id}", responses={404: {"model": Problem, "description": "`draft_not_found`"}})
def get_draft(draft_id: uuid.UUID, session: DbSession, me: WorksReader, head: ChainHead, files: Files) -> DraftOut:
    """One of your drafts. Its stage is `received`, `seen` once the mirror has its registration, and then `final`."""
    return _show_drafts(session, [service.find_draft(session, owner=me, draft_id=draft_id)], me, head, files)[0]


@router.get(
    "/drafts/{draft_id}/intent",
    response_model_by_alias=True,
    responses={
        404: {"model": Problem, "description": "`draft_not_found`"},
        409: {"model": Problem, "description": "`draft_registered`, `content_registered`"},
        422: {"model": Problem, "description": "What the registry would refuse by now"},
    },
)
def get_registration_intent(
    *,
    draft_id: uuid.UUID,
    session: DbSession,
    me: WorksAuthor,
    head: ChainHead,
    store: Store,
    files: Files,
    chain: Chain,
) -> RegistrationIntents:
    """The unsigned transaction that registers a draft, and an optional commitment to send before it.

    Whoever sees `register` on its way could copy the file's hash into a registration of their own. Sending `commit`
    first, and `register` once that is mined, gives you the proof that `contest` asks for. All rules are checked again.
    Asking publishes nothing: the files become public within seconds of the registration's being seen on chain.
    """
    draft = service.find_draft(session, owner=me, draft_id=draft_id)
    register, commit = service.registration_intents(
        session, store=store, files=files, chain=chain, head=head, owner=me, draft=draft
    )
    return RegistrationIntents(register=register, commit=commit, as_of=head.as_of)


@router.get(
    "/drafts/{draft_id}/files/{part}",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The whole file", "content": FILES},
        404: {"model": Problem, "description": "`draft_not_found`, `content_not_found`"},
        503: {"model": Problem, "description": "`content_damaged`, `content_store_unavailable`"},
    },
)
def get_draft_file(
    *, draft_id: uuid.UUID, part: Part, session: DbSession, me: WorksReader, store: Store, files: Files
) -> StreamingResponse:
    """A file of your own draft: the `media`, what you said of it (`metadata`), or the shares (`split`).

    It is opened with your key as it is sent, and nobody may keep a copy on the way.
    """
    draft = service.find_draft(session, owner=me, draft_id=draft_id)
    file, body = service.draft_file(session, store=store, files=files, draft=draft, part=part)
    media_type, download = served_as(file.media_type)
    headers = {name: value for name, value in HEADERS.items() if name != "Accept-Ranges"} | {
        "Cache-Control": "private, no-store",
        "Content-Disposition": "attachment" if download else "inline",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return StreamingResponse(body, headers=headers, media_type=media_type)


def _show_drafts(
    session: DbSession, drafts: list[Draft], owner: Account, head: Head, files: DraftFiles
) -> list[DraftOut]:
    said = {draft.id: opened(files.vault, draft) for draft in drafts}
    arrived = service.arrivals(session, [each.content_hash for each in said.values()], owner)

    def show(draft: Draft) -> DraftOut:
        its = said[draft.id]
        work = arrived.get(its.content_hash)

        def kept(part: Part) -> MediaOut:
            file = its.file(part)
            public = draft.files in ("published", "public")
            url = catalogue.content_url(file.cid) if public else f"/v1/works/drafts/{draft.id}/files/{part}"
            return MediaOut(cid=file.cid, url=url, media_type=file.media_type)

        return DraftOut(
            id=draft.id,
            created_at=draft.created_at,
            stage="received" if work is None else head.stage_of(work.block),
            work_id=None if work is None else work.work_id,
            title=its.title,
            kind=kind_name(its.kind),
            ai_label=label_name(its.ai_label),
            licence_id=its.licence_id,
            parents=[
                ParentOut(work_id=work_id, share_bps=share_bps, absolute=None, licence_id=None)
                for work_id, share_bps in its.parents
            ],
            content_hash=its.content_hash,
            media=kept("media"),
            metadata=kept("metadata"),
            split=kept("split"),
        )

    return [show(draft) for draft in drafts]


# --- works ------------------------------------------------------------------------------------------------------------


@router.get("")
def list_works(
    session: DbSession,
    head: ChainHead,
    *,
    owner: Annotated[AddressStr | None, Query(description="Who owns the token now")] = None,
    creator: Annotated[AddressStr | None, Query(description="Who registered it, or won a dispute about it")] = None,
    kind: KindName | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> WorkPage:
    """Registered works, newest first. A cursor that a reorganisation has outdated is refused with `cursor_void`."""
    wanted = catalogue.WorkFilter(
        owner=None if owner is None else bytes.fromhex(owner[2:]),
        creator=None if creator is None else bytes.fromhex(creator[2:]),
        kind=None if kind is None else Kind[kind.upper()].value,
    )
    rows, following = newest_first(
        session,
        lambda before, many: catalogue.list_works(session, wanted=wanted, before=before, limit=many),
        scope="works",
        key="work_id",
        cursor=cursor or None,
        limit=limit,
    )
    return WorkPage(items=catalogue.show_works(session, head, rows), next=following, as_of=head.as_of)


@router.get("/{work_id}", responses={404: {"model": Problem, "description": "`work_not_found`"}})
def get_work(work_id: WorkId, session: DbSession, head: ChainHead) -> WorkAnswer:
    """One registered work: what the chain says of it, and the title and text of its metadata file.

    That file counts only if its bytes have the digest on chain; `title` is null where it is not kept here, and for the
    few seconds until it has been read.
    """
    row = catalogue.find_work(session, work_id)
    work: WorkOut = catalogue.show_works(session, head, [row])[0]
    return WorkAnswer(**dict(work), as_of=head.as_of)


@router.get("/{work_id}/provenance", responses={404: {"model": Problem, "description": "`work_not_found`"}})
def get_provenance(work_id: WorkId, session: DbSession, head: ChainHead) -> Provenance:
    """From which works this one derives, and which derive from it, over all generations: who, when, which licence.

    Every ancestor is listed; of the descendants the nearest thousand.
    """
    return catalogue.provenance(session, head, work_id)


@router.get("/{work_id}/split", responses={404: {"model": Problem, "description": "`work_not_found`"}})
def get_split(
    work_id: WorkId,
    session: DbSession,
    head: ChainHead,
    store: Store,
    *,
    account: Annotated[AddressStr | None, Query(description="Only this holder's shares")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> SplitOut:
    """Who holds a work's revenue now, and what is gathered for the next version, each share with its proof.

    Rebuilt from the work's first tree file and the chain's events; every root is compared with the chain's. Shares
    whose holders published nothing show no account. Work 0 is the platform itself.
    """
    skip, version = 0, None
    if cursor:
        skip, version = decode_cursor("split", cursor, int, int)
    row = catalogue.live_split(session, work_id)
    live_version = int(row["version"])
    if version not in (None, live_version):
        raise Conflict(
            f"Version {live_version} of the split has become live since; start again without a cursor.",
            code="cursor_void",
            title="The list has changed",
        )
    splits = catalogue.splits_of(session, store, work_id)
    live = splits.versions.get(live_version)
    pending = splits.pending

    def leaves(tree: SplitTree) -> tuple[list[LeafOut], str | None]:
        wanted = [leaf for leaf in tree.leaves() if account is None or leaf.account == account]
        shown = [_show_leaf(tree, leaf.position, leaf.account, leaf.weight) for leaf in wanted[skip : skip + limit]]
        more = encode_cursor("split", skip + limit, live_version) if skip + limit < len(wanted) else None
        return shown, more

    shown, following = (None, None) if live is None else leaves(live)
    gathered, gathered_more = (None, None) if pending is None else leaves(pending)
    return SplitOut(
        work_id=work_id,
        live=SplitVersion(
            version=live_version,
            root=row["root"],
            total_weight=int(row["total_weight"]),
            leaves=shown,
            next=following,
        ),
        pending=None
        if pending is None
        else SplitVersion(
            version=None,
            root=pending.root.hash,
            total_weight=pending.root.sum,
            leaves=gathered,
            next=gathered_more,
        ),
        as_of=head.as_of,
    )


def _show_leaf(tree: SplitTree, position: int, account: str | None, weight: int) -> LeafOut:
    proof: list[Node] = tree.proof(position)
    return LeafOut(
        account=account,
        weight=weight,
        position=position,
        path=position ^ 1 << len(proof),
        proof=[ProofNode(hash=node.hash, sum=node.sum) for node in proof],
    )


@router.post(
    "/{work_id}/approval-intent",
    responses={
        404: {"model": Problem, "description": "`work_not_found`"},
        403: {"model": Problem, "description": "`not_the_owner`"},
    },
)
def approve_derivative(
    work_id: WorkId, wanted: ApprovalIn, session: DbSession, me: WorksAuthor, *, chain: Chain
) -> ApprovalIntent:
    """The unsigned transaction by which you, the owner of a work, let one derivation of it be registered."""
    row = catalogue.find_work(session, work_id)
    if bytes(row["owner"]) != me.address:
        raise Forbidden(f"Work {work_id} belongs to another account; only its owner can approve.", code="not_the_owner")
    intent = call_intent(
        chain,
        service.REGISTRY,
        "approveDerivative",
        [work_id, wanted.deriver, wanted.content_hash],
        description=f"Let {wanted.deriver} register one derivation of work {work_id}",
    )
    return ApprovalIntent(intent=intent)
