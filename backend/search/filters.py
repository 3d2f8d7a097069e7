"""Which works a search may find, apart from what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backend.works.rules import AiLabel, Kind


@dataclass(frozen=True)
class Filters:
    """Conditions on works; empty or None: any. A work of which a thing is not said passes no condition on that."""

    kinds: frozenset[Kind] = frozenset()
    not_kinds: frozenset[Kind] = frozenset()
    ai_labels: frozenset[AiLabel] = frozenset()
    licence_id: int | None = None
    languages: frozenset[str] = frozenset()
    """Primary tags in lower case: en matches en-GB."""
    not_languages: frozenset[str] = frozenset()
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None
    without: frozenset[tuple[str, ...]] = frozenset()
    """Phrases, as folded words, that a work must not have in any of its words."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What CONDITIONS takes."""
        return {
            "kinds": sorted(self.kinds) or None,
            "not_kinds": sorted(self.not_kinds) or None,
            "ai_labels": sorted(self.ai_labels) or None,
            "licence_id": self.licence_id,
            "languages": sorted(self.languages) or None,
            "not_languages": sorted(self.not_languages) or None,
            "min_duration_ms": self.min_duration_ms,
            "max_duration_ms": self.max_duration_ms,
            "without": " | ".join(_phrase(each) for each in sorted(self.without) if each) or None,
        }


def _phrase(words: tuple[str, ...]) -> str:
    """A phrase as to_tsquery takes it; words hold letters and digits alone."""
    return "(" + " <-> ".join(f"'{word}'" for word in words) + ")"


CONDITIONS: Final = """
    e.work_id <= :newest
AND (CAST(:kinds AS smallint[]) IS NULL OR e.kind = ANY(CAST(:kinds AS smallint[])))
AND (CAST(:not_kinds AS smallint[]) IS NULL OR e.kind <> ALL(CAST(:not_kinds AS smallint[])))
AND (CAST(:licence_id AS bigint) IS NULL OR e.licence_id = CAST(:licence_id AS bigint))
AND (CAST(:languages AS text[]) IS NULL OR e.language = ANY(CAST(:languages AS text[])))
AND (CAST(:not_languages AS text[]) IS NULL OR e.language <> ALL(CAST(:not_languages AS text[])))
AND (CAST(:min_duration_ms AS bigint) IS NULL OR e.duration_ms >= CAST(:min_duration_ms AS bigint))
AND (CAST(:max_duration_ms AS bigint) IS NULL OR e.duration_ms <= CAST(:max_duration_ms AS bigint))
AND (CAST(:without AS text) IS NULL OR NOT e.document @@ to_tsquery('english', :without))
"""
"""SQL over what searching looks into as e. What can change of a work is looked up when it is shown (STANDING)."""
STANDING: Final = """
SELECT w.work_id::bigint AS work_id, w.kind, w.ai_label, w.licence_id::bigint AS licence_id, w.creator,
    t.title, t.description, t.tags, t.language, t.media_cid, t.media_type, t.duration_ms
FROM chain.work w JOIN app.work_text t ON t.work_id = w.work_id AND t.cid_digest = w.cid_digest
WHERE w.work_id = ANY(CAST(:works AS numeric[])) AND w.status = 0
AND (CAST(:ai_labels AS smallint[]) IS NULL OR w.ai_label = ANY(CAST(:ai_labels AS smallint[])))
"""
"""Of the works that were found those that may be shown, as the chain and their words have them now."""
