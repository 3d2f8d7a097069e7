"""What strangers wrote stays text on the pages that show it, and the policy lets no script of theirs run."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from jinja2 import Environment, FileSystemLoader

from backend.payouts.ledger import NATIVE
from backend.web.routes import TEMPLATES
from tests.backend.conftest import Client, follow
from tests.backend.payouts.conftest import Tell, tell  # noqa: F401  a fixture
from tests.backend.payouts.story import Story, person
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="page")

ALICE = person("alice")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></head><body onload=alert(1)>",
    "{{ 7 * 7 }}{% include 'error.html' %}",
    "javascript:alert(1)//<svg/onload=alert(1)>",
)


class Markup(HTMLParser):
    """What of a page could run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.running: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") or given.get("href") or ""
        if (tag == "script" and not source.startswith("/static/")) or tag in ("iframe", "object", "embed", "base"):
            self.running.append(tag)
        self.running += [name for name in given if name.startswith("on") or name == "style"]
        if source.lower().lstrip().startswith(("javascript:", "data:")) or (tag == "img" and source == "x"):
            self.running.append(source)

    def handle_data(self, data: str) -> None:
        self.text += data


def safe(answer: object) -> Markup:
    headers = answer.headers  # type: ignore[attr-defined]
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert (policy["object-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3
    assert headers["x-content-type-options"] == "nosniff"
    page = Markup(answer.text)  # type: ignore[attr-defined]
    assert page.running == []
    return page


def test_titles_stay_text_on_every_page_that_shows_them(client: Client, tell: Tell) -> None:  # noqa: F811
    story = Story(fee_bps=500)
    for number, title in enumerate(HOSTILE, start=1):
        story.register(ALICE, title=title)
        story.paid(number, 10**16, NATIVE, 1)
    story.next_block(60)
    tell(story)
    follow(client)
    payouts = safe(client.get(f"/payouts/{ALICE}"))
    for number, title in enumerate(HOSTILE, start=1):
        assert title in payouts.text
        assert title in safe(client.get(f"/works/{number}")).text
    safe(client.get(f"/payouts/{ALICE}/earnings"))


@pytest.mark.parametrize("text", HOSTILE)
def test_what_was_typed_comes_back_as_text(text: str, client: Client, mirror: Mirror) -> None:
    mirror.block(1)
    for path in (
        f"/payouts/find?address={quote(text)}",
        f"/payouts/{quote(text, safe='')}",
        f"/works/{quote(text, safe='')}",
    ):
        answer = client.get(path)
        assert answer.status_code in (404, 422)
        if answer.headers["content-type"].startswith("text/html"):
            safe(answer)
        else:
            assert answer.headers["content-type"] == "application/problem+json"


def test_the_look_for_markup_finds_a_page_that_does_not_escape() -> None:
    """The same templates without escaping: what the tests above would miss."""
    careless = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=False)
    page = careless.from_string("<p>{{ title }}</p>")
    found = [bool(Markup(page.render(title=title)).running) for title in HOSTILE]
    assert found == [True, True, False, True, False, True]
