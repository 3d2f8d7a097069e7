"""A server process of its own, for tests that need one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stack.processes import HOST, Service, running
from stack.supervisor import answers_http


@contextmanager
def serving(
    port: int, folder: Path, env: Mapping[str, str], *, factory: str = "backend.app:create_app", ready: str = "/ready"
) -> Iterator[str]:
    """Serve an application with uvicorn until the block ends; yields its address."""
    url = f"http://{HOST}:{port}"
    service = Service(
        name="api",
        command=[sys.executable, "-m", "uvicorn", "--factory", factory, "--host", HOST, "--port", str(port)],
        env=dict(env),
        ready=lambda: answers_http(url + ready),
        ready_timeout_s=60,
    )
    with running(service, folder / "api.log"):
        yield url
