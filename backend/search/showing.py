"""What was found, as it leaves: the reasons in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from backend.mirror import Head
from backend.search.schemas import HitOut, PieceOut, SearchOut, WhyOut
from backend.search.service import Found, Results
from backend.works.catalogue import content_url, kind_or_number
from backend.works.schemas import MediaOut, label_name


def sentence(found: Found) -> str:
    """Why a work was found, as a person would say it."""
    said = []
    if found.matched:
        said.append(f"Has {_list(found.matched[:4])} in its {_list(found.fields)}.")
    if found.nearness is not None:
        near = "very near" if found.nearness >= 0.7 else "near" if found.nearness >= 0.45 else "not far"
        by = f", by {_list(found.shared)}" if found.shared else ""
        said.append(f"Its meaning is {near}{by}.")
    return " ".join(said)


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def hit(found: Found) -> HitOut:
    """One work that was found."""
    row = found.row
    media = None
    if row["media_cid"] is not None:
        media = MediaOut(cid=row["media_cid"], url=content_url(row["media_cid"]), media_type=row["media_type"])
    return HitOut(
        work_id=row["work_id"],
        title=[PieceOut(text=piece.text, hit=piece.hit) for piece in found.title],
        excerpt=[PieceOut(text=piece.text, hit=piece.hit) for piece in found.excerpt],
        kind=kind_or_number(row["kind"]),
        ai_label=label_name(row["ai_label"]),
        licence_id=row["licence_id"],
        creator=row["creator"],
        tags=list(row["tags"]),
        language=row["language"],
        duration_ms=row["duration_ms"],
        media=media,
        score=found.score,
        why=WhyOut(
            sentence=sentence(found),
            words=list(found.matched),
            fields=list(found.fields),
            nearness=found.nearness,
            shared=list(found.shared),
        ),
    )


def answer(results: Results, head: Head) -> SearchOut:
    """A page of what was found."""
    return SearchOut(
        items=[hit(found) for found in results.items],
        instead=results.instead,
        next=results.next,
        as_of=head.as_of,
    )
