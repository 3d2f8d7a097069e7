"""Every statement that reads rows about persons: who reads what, for which purpose, with whose leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from backend.consent.gate import Check, Read, allows_sql, gated_tables, not_frozen_sql, own_rows
from backend.consent.purposes import Purpose
from backend.models import registry
from backend.models.engagement import NOBODY
from backend.models.impressions import KEPT_AN_HOUR

HISTORY_LIMIT: Final = 500
"""How many of a person's newest events are read for a slate."""

BROUGHT: Final = "brought"
"""The kind of a row of history that is no event: a liking that was brought along, dated when its document was."""

_SWITCHED_ON = """NOT EXISTS (
    SELECT FROM app.feed_settings s WHERE s.person_id = {person} AND (NOT s.enabled OR s.paused_until > %(now)s))"""
_NAMED = f"SELECT DISTINCT person_id FROM app.engagement_event WHERE person_id <> '{NOBODY}'"
_VOICE = "EXISTS (SELECT FROM app.person_voice v WHERE v.person_id = {person})"
"""Whether a person signs in with a wallet, and so counts as one; a visitor is made by one request."""
_REMEMBERED = """e.received_at > COALESCE((
        SELECT s.forgotten_at FROM app.feed_settings s WHERE s.person_id = e.person_id), '-infinity')
    AND NOT EXISTS (SELECT FROM app.feed_forgotten f
        WHERE f.person_id = e.person_id AND f.work_id = e.work_id AND e.received_at <= f.at)"""
"""Whether an event was not forgotten by a reset."""


def enough_slates_sql(person: str) -> str:
    """Whether so many slates of the last hour are kept for a person that no more are; `person` is SQL, now a parameter.

    Where several come at the same moment, each sees those that were kept before it.
    """
    return (
        f"EXISTS (SELECT FROM app.impression r WHERE r.person_id = {person}"
        f" AND r.at > %(now)s::timestamptz - interval '1 hour' OFFSET {KEPT_AN_HOUR - 1})"
    )


FEED_STATUS = Check(f"""
SELECT COALESCE(s.enabled, true) AS enabled, CASE WHEN s.paused_until > %(now)s THEN s.paused_until END AS paused_until,
       {allows_sql(Purpose.BEHAVIOUR, "%(person)s::uuid")} AS behaviour,
       {allows_sql(Purpose.CONTENT_TASTE, "%(person)s::uuid")} AS content_taste,
       {allows_sql(Purpose.AGENT, "%(person)s::uuid")} AS agent,
       {allows_sql(Purpose.LOCATION_TIME, "%(person)s::uuid")} AS location_time,
       NOT {not_frozen_sql("%(person)s::uuid")} AS frozen,
       {allows_sql(Purpose.BEHAVIOUR, "%(person)s::uuid")} AND {enough_slates_sql("%(person)s::uuid")} AS enough_kept,
       s.novelty, s.energy, s.birth_year, s.territory,
       s.session_minutes, s.autoplay_at_most, s.night_from, s.night_until, s.time_zone,
       ARRAY(SELECT h.creator FROM app.feed_hidden h WHERE h.person_id = %(person)s::uuid ORDER BY h.at, h.creator)
           AS hidden_creators
FROM (SELECT) AS always LEFT JOIN app.feed_settings s ON s.person_id = %(person)s::uuid
""")
"""What a person switched, set and allows. Of what they did it asks one thing, where that is kept at all: whether the
slates of their last hour are as many as are kept."""

FEED_STATED = Check("""
SELECT s.birth_year, s.territory,
       ARRAY(SELECT h.creator FROM app.feed_hidden h WHERE h.person_id = %(person)s::uuid) AS hidden_creators
FROM (SELECT) AS always LEFT JOIN app.feed_settings s ON s.person_id = %(person)s::uuid
""")
"""What decides which works may be shown to a person at all; it looks at nothing that they did, like or allow."""

_PLACED = allows_sql(Purpose.LOCATION_TIME, "allowed.person_id")
"""Device and place leave the log where that is allowed, too."""

FEED_HISTORY = Read(
    reader="feed.history",
    what=f"Your newest {HISTORY_LIMIT} events were read to choose your feed.",
    purpose=Purpose.CONTENT_TASTE,
    needs=(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE),
    also=_SWITCHED_ON.format(person="p.person_id"),
    sql=f"""
        SELECT e.work_id, e.kind, e.duration_ms, e.completion_bps, e.received_at,
               e.received_at > COALESCE(s.today_forgotten_at, '-infinity') AS lately,
               NULL::float8 AS value, NULL AS issuer,
               CASE WHEN {_PLACED} THEN e.device END AS device, CASE WHEN {_PLACED} THEN e.place END AS place
        FROM allowed LEFT JOIN app.feed_settings s ON s.person_id = allowed.person_id CROSS JOIN LATERAL (
            SELECT * FROM app.engagement_event e WHERE e.person_id = allowed.person_id AND {_REMEMBERED}
            ORDER BY e.received_at DESC LIMIT {HISTORY_LIMIT}
        ) e
        UNION ALL
        SELECT e.work_id, '{BROUGHT}', 0, 0, e.at, false, e.value, e.issuer, NULL, NULL
        FROM allowed JOIN (SELECT *, imported_at AS received_at FROM app.feed_prior) e USING (person_id)
        WHERE {_REMEMBERED}
        ORDER BY received_at DESC""",
)

FEED_FOR_PROGRAM = replace(
    FEED_HISTORY,
    reader="feed.program",
    what=f"Your newest {HISTORY_LIMIT} events were read to choose a feed for a program with an API key of yours.",
    purpose=Purpose.AGENT,
    needs=(*FEED_HISTORY.needs, Purpose.AGENT),
)

SHOWN_DAYS: Final = 7
SHOWN_SLATES: Final = 50

FEED_SHOWN = Read(
    reader="feed.shown",
    what=f"What your feed showed you in the last {SHOWN_DAYS} days was read, to tire of what you passed by.",
    purpose=Purpose.CONTENT_TASTE,
    needs=(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE),
    also=_SWITCHED_ON.format(person="p.person_id"),
    # a page that is loaded again shows the same: what was shown in the last minute is not behind it yet
    sql=f"""
        SELECT i.at, i.works FROM allowed CROSS JOIN LATERAL (
            SELECT * FROM app.impression i WHERE i.person_id = allowed.person_id
              AND i.at > %(now)s - interval '{SHOWN_DAYS} days' AND i.at < %(now)s - interval '1 minute'
            ORDER BY i.at DESC LIMIT {SHOWN_SLATES}
        ) i ORDER BY i.at DESC""",
)

ASSESSED = Read(
    reader="feed.assessed",
    what="How many people began each work, liked or finished it, and complained, was counted, to say how good it is.",
    needs=(Purpose.BEHAVIOUR,),
    also=_VOICE.format(person="p.person_id"),
    who="sums",
    people=f"{_NAMED} AND received_at > %(since)s",
    sql="""
        SELECT work_id, count(*) AS persons, count(*) FILTER (WHERE good AND NOT bad) AS satisfied,
               count(*) FILTER (WHERE bad) AS complained
        FROM (
            SELECT e.work_id, bool_or(e.kind IN ('complaint', 'less_like_this')) AS bad,
                   bool_or(e.kind IN ('like', 'save') OR (e.kind = 'watch' AND e.completion_bps >= 9000)) AS good
            FROM app.engagement_event e JOIN allowed USING (person_id)
            WHERE e.received_at > %(since)s AND e.kind NOT IN ('impression', 'dwell', 'choice')
            GROUP BY e.person_id, e.work_id
        ) voice GROUP BY work_id""",
)
"""One voice a person and work; nobody's events and visitors' are none: nothing tells a thousand of them from one."""

EXPOSED = Read(
    reader="feed.exposed",
    what="To how many people the feed showed each work was counted, to show what hardly anybody has been shown.",
    needs=(Purpose.BEHAVIOUR,),
    also=_VOICE.format(person="p.person_id"),
    who="sums",
    people="SELECT DISTINCT person_id FROM app.impression WHERE at > %(since)s",
    sql="""
        SELECT w.work_id, count(DISTINCT i.person_id) AS persons
        FROM app.impression i JOIN allowed USING (person_id) CROSS JOIN LATERAL unnest(i.works) AS w(work_id)
        WHERE i.at > %(since)s GROUP BY w.work_id""",
)
"""What the feed itself showed, one voice a person and work: no client says it, and no visitor."""

FEED_SITTING = Read(
    reader="feed.sitting",
    what="When you did things in the last twelve hours was read, to tell whether a limit of yours is reached.",
    purpose=Purpose.BEHAVIOUR,
    needs=(Purpose.BEHAVIOUR,),
    also=f"{_SWITCHED_ON.format(person='p.person_id')} AND EXISTS (SELECT FROM app.feed_settings s"
    " WHERE s.person_id = p.person_id AND (s.session_minutes IS NOT NULL OR s.autoplay_at_most > 0))",
    sql=f"""
        SELECT e.received_at, e.kind FROM allowed CROSS JOIN LATERAL (
            SELECT * FROM app.engagement_event e
            WHERE e.person_id = allowed.person_id AND e.received_at > %(now)s - interval '12 hours'
            ORDER BY e.received_at DESC LIMIT {HISTORY_LIMIT}
        ) e ORDER BY e.received_at DESC""",
)
"""When things were done, and whether somebody chose them: nothing about which works."""

FEED_TREND = Read(
    reader="feed.trend",
    what="What everybody did lately was summed up by work, to say what is popular.",
    needs=(Purpose.BEHAVIOUR,),
    who="sums",
    people=f"{_NAMED} AND received_at > %(since)s",
    # a number for this answer alone stands for each person: no pseudonym leaves the database. Visitors have nobody's
    sql=f"""
        , voice AS (
            SELECT person_id, CASE WHEN {_VOICE.format(person="allowed.person_id")} THEN person_id
                              ELSE '{NOBODY}'::uuid END AS who FROM allowed
            UNION ALL SELECT '{NOBODY}'::uuid, '{NOBODY}'::uuid
        )
        SELECT dense_rank() OVER (ORDER BY v.who) AS who, e.work_id, e.kind, e.duration_ms, e.completion_bps,
               e.received_at, count(*) AS times
        FROM app.engagement_event e JOIN voice v USING (person_id)
        WHERE e.received_at > %(since)s
        GROUP BY v.who, e.work_id, e.kind, e.duration_ms, e.completion_bps, e.received_at""",
)

_TASTE = {
    "needs": (Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE),
    "people": _NAMED,
    "also": _SWITCHED_ON.format(person="p.person_id"),
}

TRAINING_SIZE = Read(
    reader="feed.training_size",
    what="The events that a model may learn from were counted, to know whether to train it again.",
    who="sums",
    sql=f"SELECT count(*) AS events FROM app.engagement_event e JOIN allowed USING (person_id) WHERE {_REMEMBERED}",
    **_TASTE,  # type: ignore[arg-type]
)

TRAINING_PAIRS = Read(
    reader="feed.training",
    what="What you liked was read to train the model that says which works go together.",
    purpose=Purpose.CONTENT_TASTE,
    who="everybody",
    sql=f"""
        SELECT e.person_id, e.work_id, e.kind, e.duration_ms, e.completion_bps, count(*) AS times,
               max(e.received_at) AS last_at
        FROM app.engagement_event e JOIN allowed USING (person_id) WHERE {_REMEMBERED}
        GROUP BY e.person_id, e.work_id, e.kind, e.duration_ms, e.completion_bps""",
    **_TASTE,  # type: ignore[arg-type]
)

LEAST_PEOPLE: Final = 10
"""Of fewer people nothing but their number is told: a sum of few says much of each."""

_CAME_OF_IT = """
    SELECT s.person_id, s.slate_id, e.work_id,
           bool_or(e.kind IN ('play', 'watch', 'skip', 'choice', 'purchase')) AS clicked,
           bool_or(e.kind = 'watch' AND e.completion_bps >= 5000) AND NOT bool_or(e.kind = 'complaint') AS satisfied,
           bool_or(e.kind = 'skip' AND e.duration_ms < 5000) AS early_skip,
           bool_or(e.kind = 'complaint') AS complaint
    FROM shown s JOIN app.engagement_event e
      ON e.person_id = s.person_id AND e.slate_id = s.slate_id AND e.work_id = ANY (s.works)
     AND e.received_at >= s.at AND e.received_at < s.at + interval '3 hours'
    GROUP BY 1, 2, 3"""
"""What came of the works of the slates `shown`: only events of the same person, on a work that the slate holds, within
three hours."""

EXPERIMENT_SUMS = Read(
    reader="feed.experiment",
    what="What people did with their feeds was summed up by the arms of an experiment, to know which is better.",
    needs=(Purpose.BEHAVIOUR,),
    who="sums",
    people="""
        SELECT DISTINCT person_id FROM app.impression
        WHERE at >= %(since)s AND at < %(until)s AND arms ? %(experiment)s""",
    sql=f"""
        , shown AS (
            SELECT i.person_id, i.slate_id, i.at, i.works, i.arms ->> %(experiment)s AS arm
            FROM app.impression i JOIN allowed USING (person_id)
            WHERE i.at >= %(since)s AND i.at < %(until)s AND i.arms ? %(experiment)s
        ), came AS ({_CAME_OF_IT}
        ), counted AS (
            SELECT person_id, count(*) FILTER (WHERE satisfied) AS satisfied,
                   count(*) FILTER (WHERE early_skip) AS early_skips, count(*) FILTER (WHERE complaint) AS complaints
            FROM came GROUP BY 1
        ), earlier AS (
            SELECT e.person_id, count(DISTINCT e.work_id)::float8 AS x
            FROM app.engagement_event e JOIN allowed USING (person_id)
            WHERE e.kind = 'watch' AND e.completion_bps >= 5000
              AND e.received_at >= %(before)s AND e.received_at < %(since)s
            GROUP BY 1
        ), person AS (
            SELECT a.arm, a.slates, coalesce(e.x, 0) AS x, coalesce(c.satisfied, 0)::float8 / a.slates AS satisfied,
                   coalesce(c.early_skips, 0)::float8 / a.slates AS early_skips,
                   coalesce(c.complaints, 0)::float8 / a.slates AS complaints, a.days::float8 AS days
            FROM (
                SELECT person_id, min(arm) AS arm, count(*) AS slates,
                       count(DISTINCT (at AT TIME ZONE 'UTC')::date) AS days
                FROM shown GROUP BY 1 HAVING count(DISTINCT arm) = 1
            ) a LEFT JOIN counted c USING (person_id) LEFT JOIN earlier e USING (person_id)
        )
        SELECT arm, count(*) AS people, sum(slates)::bigint AS slates, {{}}
        FROM person GROUP BY arm ORDER BY arm""".format(
        ", ".join(
            f"CASE WHEN count(*) >= %(least)s THEN sum({value}) END AS {name}"
            for value, name in (
                ("x", "x"),
                ("x * x", "xx"),
                *(
                    (f"{metric}{factor}", f"{metric}_{which}")
                    for metric in ("satisfied", "early_skips", "complaints", "days")
                    for which, factor in (("y", ""), ("yy", f" * {metric}"), ("xy", " * x"))
                ),
            )
        )
    ),
)

PACKAGED = Read(
    reader="feed.packaging",
    what="Titles and pictures that were tried on you, and what you did then, were read to learn which of them please.",
    purpose=Purpose.BEHAVIOUR,
    needs=(Purpose.BEHAVIOUR,),
    also=_VOICE.format(person="p.person_id"),  # else one request after the other would teach it
    who="everybody",
    people="""
        SELECT DISTINCT person_id FROM app.impression
        WHERE packaging <> '[]' AND at > %(after)s AND at <= %(upto)s""",
    sql=f"""
        , shown AS (
            SELECT i.person_id, i.slate_id, i.at, i.works, i.packaging
            FROM app.impression i JOIN allowed USING (person_id)
            WHERE i.packaging <> '[]' AND i.at > %(after)s AND i.at <= %(upto)s
        ), came AS ({_CAME_OF_IT}
        )
        SELECT s.works[(p.one ->> 'place')::int + 1] AS work_id, (p.one ->> 'variant')::uuid AS variant,
               p.one -> 'context' AS context, coalesce(c.clicked, false) AS clicked,
               coalesce(c.satisfied, false) AS satisfied
        FROM shown s CROSS JOIN LATERAL jsonb_array_elements(s.packaging) WITH ORDINALITY AS p(one, number)
        LEFT JOIN came c ON c.person_id = s.person_id AND c.slate_id = s.slate_id
             AND c.work_id = s.works[(p.one ->> 'place')::int + 1]
        ORDER BY s.at, s.slate_id, p.number""",
)

_DRAWN = """
    SELECT s.person_id, s.slate_id, s.at, s.works, p.work, p.why, p.propensity, p.choices, p.usual
    FROM app.impression s JOIN allowed USING (person_id)
    CROSS JOIN LATERAL unnest(s.works, s.whys, s.propensities, s.choices, s.usual)
        AS p(work, why, propensity, choices, usual)
    WHERE s.at >= %(since)s AND s.at < %(until)s AND (p.propensity < 1 OR p.choices = 1)
      AND p.why IN ('best', 'explored')"""
"""Places of slates that were explored: whatever could stand there, had a chance. Special places are no policy's own."""

_OWN_LOG_PEOPLE = """
    SELECT person_id FROM app.impression WHERE at >= %(since)s AND at < %(until)s GROUP BY 1
    HAVING bool_or('explored' = ANY (whys) OR 1 > ANY (propensities))"""

OWN_LOG_SIZE = Read(
    reader="feed.own_log",
    what="What people did with what they were shown was summed up, to judge other ways of choosing.",
    needs=(Purpose.BEHAVIOUR,),
    who="sums",
    people=_OWN_LOG_PEOPLE,
    sql=f"""
        SELECT count(DISTINCT person_id) AS people, count(*) AS rounds, count(*) FILTER (WHERE why = 'explored')
        FROM ({_DRAWN}) d""",
)

OWN_LOG = replace(
    OWN_LOG_SIZE,
    sql=f"""
        , shown AS ({_DRAWN}
        ), came AS ({_CAME_OF_IT}
        ), judged AS (
            SELECT s.person_id, s.propensity, (coalesce(c.clicked AND c.satisfied, false))::int AS r,
                   1.0::float8 AS served, (s.propensity > 0.15)::int / s.propensity AS greedy,
                   1 / (s.choices * s.propensity) AS uniform, s.usual / s.propensity AS popular
            FROM shown s LEFT JOIN came c
              ON c.person_id = s.person_id AND c.slate_id = s.slate_id AND c.work_id = s.work
        )
        SELECT mod(('x' || substr(md5(%(salt)s || person_id::text), 1, 8))::bit(32)::bigint, %(buckets)s) AS bucket,
               count(*) AS rounds, sum(r) AS rewards, {
        ", ".join(
            f"sum({policy}) AS {policy}_w, sum({policy} * r) AS {policy}_wr, sum({policy} * {policy}) AS {policy}_ww"
            for policy in ("served", "greedy", "uniform", "popular")
        )
    }
        FROM judged GROUP BY 1 ORDER BY 1""",
)

REWARD_EVENTS = Read(
    reader="rewards.scoring",
    what="Your events of an epoch were read to work out what creators earn.",
    needs=(Purpose.BEHAVIOUR,),
    who="everybody",
    people=f"{_NAMED} AND epoch = %(epoch)s",
    sql="""
        SELECT e.person_id, e.event_id, e.work_id, e.kind, e.duration_ms, e.completion_bps
        FROM app.engagement_event e JOIN allowed USING (person_id) WHERE e.epoch = %(epoch)s""",
)

MY_VIEWER = Read(
    reader="you.counted",
    what="You asked which of your events counted in an epoch.",
    needs=(),
    own=True,
    sql="""
        SELECT v.salt, v.tag, v.verified FROM app.reward_viewer v JOIN allowed USING (person_id)
        WHERE v.epoch = %(epoch)s""",
)

MY_EVENT_IDS = Read(
    reader="you.counted",
    what=MY_VIEWER.what,
    needs=(),
    own=True,
    sql="""
        SELECT e.event_id FROM app.engagement_event e JOIN allowed USING (person_id)
        WHERE e.epoch = %(epoch)s""",
)

MY_SLATE = Read(
    reader="you.slate",
    what="You asked how a slate came about that you were shown.",
    needs=(),
    own=True,
    sql="""
        SELECT i.slate_id, i.at, i.works, i.whys, i.propensities, i.configuration, i.model_version
        FROM app.impression i JOIN allowed USING (person_id) WHERE i.slate_id = %(slate_id)s""",
)

registry.load()
OWN_ROWS: Final = {table.name: own_rows(table) for table in gated_tables()}
"""For each table behind the gate, the read of a person's own rows, in full."""

READS: Final[tuple[Read, ...]] = (
    *(
        FEED_HISTORY,
        FEED_FOR_PROGRAM,
        FEED_SITTING,
        FEED_TREND,
        FEED_SHOWN,
        ASSESSED,
        EXPOSED,
        TRAINING_SIZE,
        TRAINING_PAIRS,
        EXPERIMENT_SUMS,
        PACKAGED,
        OWN_LOG_SIZE,
        REWARD_EVENTS,
        MY_VIEWER,
        MY_EVENT_IDS,
        MY_SLATE,
    ),
    *OWN_ROWS.values(),
)
WORDS: Final = {read.reader: read.what for read in READS}
"""What each reader of the log does, in words."""
