"""Pages in a real browser: the application on a port of its own, chromium, and pictures to be looked at."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from backend.app import create_app
from backend.settings import Settings
from stack.processes import free_port
from tests.backend.conftest import (  # noqa: F401  fixtures
    alice,
    backend_database,
    bob,
    broom,
    chain_of_the_app,
    clean_db,
    clock,
    manifest,
    people,
    settings,
)
from tests.backend.payouts.conftest import tell  # noqa: F401  a fixture

CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "reports" / "web"
ASSETS = ROOT / "backend" / "web" / "static" / "vendor" / "wallet.js"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Look:
    """How a person looks at a page: how wide, by day or by night."""

    width: int
    scheme: Any

    @property
    def name(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = [Look(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}: `apt-get install chromium` to run the browser tests")
    if not ASSETS.exists():
        pytest.skip("the page assets are not bundled: run `python3 scripts/setup.py`")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))


@pytest.fixture
def public_url() -> str:
    """Where the browser finds the application: a port of its own."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def site(settings: Settings) -> Iterator[str]:  # noqa: F811
    """The application, served; its address."""
    address = urlsplit(settings.public_url)
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host=address.hostname, port=address.port, log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    yield settings.public_url
    server.should_exit = True
    thread.join()


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """`open_page(path, look)`: the page as somebody sees it, complaints of the browser in `page.complaints`."""
    contexts = []

    def opened(path: str, look: Look = LOOKS[0], *, script: str | None = None, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": look.width, "height": 900 if look.width > 800 else 844},
            color_scheme=look.scheme,
            locale="en-US",
            timezone_id="UTC",
            reduced_motion="reduce",
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints  # type: ignore[attr-defined]
        if script:
            page.add_init_script(script)
        page.goto(site + path)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures of the pages are put, to be looked at: reports/web, made anew."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    return REPORTS
