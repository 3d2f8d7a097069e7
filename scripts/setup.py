"""Make a fresh checkout ready: two Python environments, the npm tools, the compiler, the compiled contracts.

Needs Python 3.11, Node with npm, and nothing else. Each step is skipped when what it depends on has not changed
(its stamp holds the hash of its inputs), so that a second run installs and compiles nothing. Standard library only.

    python3 scripts/setup.py             everything `make demo` and `make test` need
    python3 scripts/setup.py --kubo      also builds Kubo with Go, for the tests against a real IPFS daemon
    python3 scripts/setup.py --audit     also a third environment, with Slither, for `make audit`
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
STAMPS = TOOLS / "stamps"
LOG = TOOLS / "setup.log"
LOCK = TOOLS / "setup.lock"
KUBO_VERSION = "v0.42.0"


class SetupError(Exception):
    """A step failed; the text says which, why, and what to do."""


def digest(paths: Iterable[Path], *extra: str) -> str:
    sha = hashlib.sha256()
    for path in sorted(paths):
        sha.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    for text in extra:
        sha.update(text.encode() + b"\0")
    return sha.hexdigest()


def run(command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in .tools/setup.log; on failure raise with its last lines."""
    with LOG.open("a") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} $ {' '.join(command)}\n")
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with LOG.open("a") as log:
        log.write(done.stdout)
    if done.returncode:
        tail = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-15:])
        raise SetupError(
            f"`{' '.join(command[:4])} ...` ended with {done.returncode}:\n{tail}\n  (all of it: .tools/setup.log)"
        )


def need(program: str, why: str) -> str:
    found = shutil.which(program)
    if not found:
        raise SetupError(f"{program} is not on PATH; {why}")
    return found


def python_environment(name: str) -> Callable[[], None]:
    def install() -> None:
        if (ROOT / ".venv").is_symlink():
            raise SetupError(".venv is a link into another checkout, whose users would lose it; run set-up there")
        target = ROOT / ".venv" / name
        shutil.rmtree(target, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(target)])
        pip = [
            str(target / "bin" / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
        ]
        run([*pip, "--no-deps", "--require-hashes", "-r", f"requirements/{name}.lock"])

    return install


def environment(name: str) -> None:
    """Bring a Python environment to its lock; another version of Python or another folder makes it anew."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stamp = digest([ROOT / "requirements" / f"{name}.lock"], version, str(ROOT))
    step(f"python {name}", stamp, ROOT / ".venv" / name / "bin/python", python_environment(name))


def npm_tools() -> None:
    npm = need("npm", "install Node 20 or newer, which brings it")
    # not `npm ci`: it refuses a lock without anvil's builds for other platforms, which not every registry carries
    run([npm, "install", "--no-save", "--ignore-scripts", "--no-fund", "--no-audit"])


def compiler() -> None:
    """Put the npm compiler where py-solc-x looks, under the name that it expects."""
    need("node", "install Node 20 or newer")
    target = TOOLS / "solcx" / "solc-v0.8.30"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "scripts" / "toolchain" / "solc.js", target)
    target.chmod(0o755)


def contracts() -> None:
    run([sys.executable, "scripts/brownie.py", "compile"])


def page_assets() -> None:
    """Copy htmx and uPlot beside our own page scripts and bundle the wallet code once."""
    vendor = ROOT / "backend" / "web" / "static" / "vendor"
    vendor.mkdir(parents=True, exist_ok=True)
    modules = ROOT / "node_modules"
    shutil.copyfile(modules / "htmx.org" / "dist" / "htmx.min.js", vendor / "htmx.min.js")
    shutil.copyfile(modules / "uplot" / "dist" / "uPlot.iife.min.js", vendor / "uplot.min.js")
    shutil.copyfile(modules / "uplot" / "dist" / "uPlot.min.css", vendor / "uplot.min.css")
    run(["node", "scripts/toolchain/bundle.js"])


def kubo() -> None:
    go = need("go", "the tests against a real IPFS daemon need Go (or an `ipfs` on PATH); the others do without")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "troupe"
    binary = cache / f"ipfs-{KUBO_VERSION}"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = binary.with_suffix(".partial")
        run(
            [go, "build", "-o", str(partial), "github.com/ipfs/kubo/cmd/ipfs"],
            cwd=ROOT / "scripts" / "toolchain" / "kubo",
            env=os.environ | {"CGO_ENABLED": "0"},
        )
        partial.replace(binary)
    link = TOOLS / "ipfs"
    link.unlink(missing_ok=True)
    link.symlink_to(binary)


def solidity() -> list[Path]:
    return [*(ROOT / "contracts").rglob("*.sol"), ROOT / "brownie-config.yaml", ROOT / "package-lock.json"]


def step(name: str, stamp: str, present: Path, action: Callable[[], None]) -> None:
    """Run `action` unless its stamp says that it ran with the same inputs; print what was done and how long it took."""
    file = STAMPS / name.replace(" ", "-")
    if file.exists() and file.read_text() == stamp and present.exists():
        print(f"  {name:<24} ready", flush=True)
        return
    started = time.monotonic()
    print(f"  {name:<24} begins; what it says goes to {LOG.relative_to(ROOT)}", flush=True)
    file.unlink(missing_ok=True)
    action()
    file.write_text(stamp)
    print(f"  {name:<24} {time.monotonic() - started:6.1f} s", flush=True)


def in_parallel(*jobs: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # handed to the main thread below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def alone() -> Iterator[None]:
    """Keep other set-ups of this checkout out; wait for one that is at work, and say so. It ends with the process."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("set-up waits for another one that is at work in this checkout", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(*, audit: bool, kubo_too: bool) -> None:
    """Every step, in an order that gives each what it needs."""
    in_parallel(
        lambda: environment("app"),
        lambda: (
            step("npm tools", digest([ROOT / "package-lock.json"]), ROOT / "node_modules/solc", npm_tools),
            environment("chain"),
        )[-1],
    )
    step("compiler", digest([ROOT / "scripts/toolchain/solc.js"]), TOOLS / "solcx/solc-v0.8.30", compiler)
    step("contracts", digest(solidity()), ROOT / "build/contracts", contracts)
    pages = [p for p in (ROOT / "backend/web/client").rglob("*") if p.is_file()]
    step(
        "page assets",
        digest([*pages, ROOT / "package-lock.json", ROOT / "scripts/toolchain/bundle.js"]),
        ROOT / "backend/web/static/vendor/wallet.js",
        page_assets,
    )
    if audit:
        environment("audit")
    if kubo_too:
        if system := shutil.which("ipfs"):
            print(f"  {'kubo':<24} ready ({system})")
        else:
            step("kubo", digest([ROOT / "scripts/toolchain/kubo/go.sum"], KUBO_VERSION), TOOLS / "ipfs", kubo)


def main() -> int:
    arguments = argparse.ArgumentParser(description="Install what Troupe needs below this folder.")
    arguments.add_argument("--kubo", action="store_true", help="also build the Kubo daemon with Go")
    arguments.add_argument("--audit", action="store_true", help="also install Slither, in an environment of its own")
    options = arguments.parse_args()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        print(f"Troupe needs Python 3.11 or 3.12; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    STAMPS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with alone():
            print("set-up", flush=True)
            install(audit=options.audit, kubo_too=options.kubo)
    except SetupError as error:
        print(f"set-up stopped: {error}", file=sys.stderr)
        return 1
    print(f"set-up done in {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
