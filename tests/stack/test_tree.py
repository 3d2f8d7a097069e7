"""The supervisor over small real processes: order, crashes, leftovers, a second instance, the end of everything."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.errors import PortInUse
from stack.processes import Identity, Service, free_port, require_free_port
from stack.tree import (
    AlreadyRunning,
    PartFailed,
    Phase,
    Supervisor,
    Task,
    clear,
    describe_status,
    signals_as_interrupts,
)

ROOT = Path(__file__).resolve().parents[2]

SAY = "echo $0 up >> order; trap 'echo $0 down >> order; exit 0' TERM; touch $0.ready; while :; do sleep 0.05; done"
"""A part that notes in which order parts came up and went down."""


def speaker(name: str, folder: Path, script: str = SAY) -> Service:
    mark = folder / f"{name}.ready"
    return Service(
        name,
        ["sh", "-c", script, name],
        ready=mark.exists,
        prepare=lambda: mark.unlink(missing_ok=True),
        ready_timeout_s=10,
        grace_s=1,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def tree(folder: Path, *names: str) -> Supervisor:
    return Supervisor([[speaker(name, folder)] for name in names], folder / "state", cwd=folder)


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        pass


def test_parts_come_up_in_order_and_go_down_in_reverse(folder: Path) -> None:
    with tree(folder, "stage", "actor", "audience") as supervisor:
        assert [row.phase for row in supervisor.rows.values()] == [Phase.READY] * 3
        assert all(row.pid and row.seconds is not None for row in supervisor.rows.values())
    said = (folder / "order").read_text().split("\n")[:-1]
    assert said == ["stage up", "actor up", "audience up", "audience down", "actor down", "stage down"]
    assert [row.phase for row in supervisor.rows.values()] == [Phase.STOPPED] * 3


def test_each_part_has_a_log_of_its_own(folder: Path) -> None:
    parts = [speaker(name, folder, f"echo I am $0; {SAY}") for name in ("stage", "actor")]
    with Supervisor([parts], folder / "state", cwd=folder) as supervisor:
        assert supervisor.log("stage").read_text() == "I am stage\n"
        assert supervisor.log("actor").read_text() == "I am actor\n"


def test_a_killed_part_is_named_with_its_last_lines_and_the_rest_is_stopped(folder: Path) -> None:
    parts = [[speaker("stage", folder)], [speaker("actor", folder, f"echo to be or not; {SAY}")]]
    supervisor = Supervisor(parts, folder / "state", cwd=folder)
    with supervisor:
        pid = supervisor.pid("stage")
        supervisor.kill("actor")
        with pytest.raises(
            PartFailed, match=r"(?s)actor was ended by SIGKILL\. The last lines.*actor\.log.*to be or not"
        ):
            supervisor.watch()
    assert supervisor.rows["actor"].phase is Phase.FAILED
    assert supervisor.rows["stage"].phase is Phase.STOPPED
    assert Identity.of(pid) is None


def test_a_part_that_dies_while_a_later_one_starts_is_the_one_that_is_named(folder: Path) -> None:
    first = speaker("stage", folder)
    silent = Service("actor", ["sleep", "60"], ready=lambda: supervisor.kill("stage") or False)
    supervisor = Supervisor([[first], [silent]], folder / "state", cwd=folder)
    with pytest.raises(PartFailed, match="stage was ended by SIGKILL"), supervisor:
        pass


def test_a_task_runs_to_its_end_before_the_next_part(folder: Path) -> None:
    task = Task("rehearsal", lambda: [["sh", "-c", "echo one >> order"], ["sh", "-c", "echo two >> order"]])
    skipped = Task("encore", lambda: [["false"]], needed=lambda: False)
    with Supervisor([[task, skipped], [speaker("actor", folder)]], folder / "state", cwd=folder) as supervisor:
        assert supervisor.rows["rehearsal"].phase is Phase.DONE
        assert supervisor.rows["encore"].phase is Phase.NOT_NEEDED
    assert (folder / "order").read_text().startswith("one\ntwo\nactor up\n")


def test_a_failed_task_stops_what_runs_and_shows_its_log(folder: Path) -> None:
    task = Task("rehearsal", lambda: [["sh", "-c", "echo forgot the text; exit 4"]])
    supervisor = Supervisor([[speaker("stage", folder)], [task]], folder / "state", cwd=folder)
    with pytest.raises(PartFailed, match=r"(?s)rehearsal ended with status 4\. .*forgot the text"), supervisor:
        pass
    assert supervisor.rows["stage"].phase is Phase.STOPPED


def test_a_full_disk_is_said_in_words(folder: Path) -> None:
    task = Task("rehearsal", lambda: [["sh", "-c", "echo 'write: No space left on device'; exit 1"]])
    with (
        pytest.raises(PartFailed, match="the disk is full: free some space and start again"),
        Supervisor([[task]], folder / "state"),
    ):
        pass


def test_a_full_disk_of_ours_is_said_in_words(folder: Path) -> None:
    def write() -> None:
        with Path("/dev/full").open("wb", buffering=0) as disk:
            disk.write(b"a line")

    with (
        pytest.raises(Exception, match="the disk is full: free some space and start again"),
        Supervisor([[Task("rehearsal", before=write)]], folder / "state"),
    ):
        pass


def test_a_second_supervisor_of_a_folder_says_one_sentence(folder: Path) -> None:
    with tree(folder, "stage"):
        with pytest.raises(AlreadyRunning, match=rf"runs already in .*state \(process {os.getpid()}\)") as refusal:
            tree(folder, "stage").start()
        assert "\n" not in str(refusal.value)
    with tree(folder, "stage"):
        pass


def test_a_port_that_is_taken_is_named_with_its_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} of 127\.0\.0\.1, which api needs, .* TROUPE_PORT_API"):
            require_free_port(port, "api", "TROUPE_PORT_API")
    require_free_port(free_port(), "api")


SCRIPT = """
import signal
import sys
from pathlib import Path
from tests.stack.test_tree import speaker, STUBBORN, SAY
from stack.tree import Supervisor, signals_as_interrupts
# as a terminal leaves them, whatever the tests were started from (nohup and `&` have them ignored)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
script = STUBBORN if sys.argv[2] == "stubborn" else SAY
supervisor = Supervisor([[speaker(n, folder, script)] for n in ("stage", "actor")], folder / "state", cwd=folder)
with signals_as_interrupts(supervisor):
    try:
        with supervisor:
            (folder / "pids").write_text(" ".join(str(supervisor.pid(n)) for n in ("stage", "actor")) + "\\n")
            supervisor.watch()
    except KeyboardInterrupt:
        sys.exit(130)
"""

STUBBORN = "trap '' TERM; touch $0.ready; while :; do sleep 0.05; done"
"""A part that does not listen to SIGTERM."""


@pytest.fixture
def outside(folder: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[bytes], list[Identity]]]]:
    """Start a supervisor in a process of its own; returns it with the identities of its two children."""
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: str) -> tuple[subprocess.Popen[bytes], list[Identity]]:
        pids = folder / "pids"
        pids.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), kind], cwd=ROOT)
        started.append(process)
        while not (pids.exists() and pids.read_text().endswith("\n")):
            assert process.poll() is None
        found = [Identity.of(int(pid)) for pid in pids.read_text().split()]
        return process, [identity for identity in found if identity]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_everything_in_reverse(
    folder: Path, outside: Callable[[str], tuple[subprocess.Popen[bytes], list[Identity]]], how: int
) -> None:
    process, children = outside("gentle")
    process.send_signal(how)
    assert process.wait(10) == 130
    assert [child.process() for child in children] == [None, None]
    assert (folder / "order").read_text().endswith("actor down\nstage down\n")


def test_a_second_signal_kills_what_does_not_listen(
    folder: Path, outside: Callable[[str], tuple[subprocess.Popen[bytes], list[Identity]]]
) -> None:
    process, children = outside("stubborn")
    process.send_signal(signal.SIGINT)
    while process.poll() is None and all(child.process() for child in children):
        process.send_signal(signal.SIGINT)
    assert process.wait(3) == 130  # at once, without the graces
    assert [child.process() for child in children] == [None, None]


def test_children_follow_a_supervisor_that_was_killed(
    outside: Callable[[str], tuple[subprocess.Popen[bytes], list[Identity]]],
) -> None:
    process, children = outside("gentle")
    process.kill()
    process.wait()
    wait_for(lambda: not any(child.process() for child in children))


def test_leftovers_of_a_killed_supervisor_are_ended_by_the_next_start(
    folder: Path, outside: Callable[[str], tuple[subprocess.Popen[bytes], list[Identity]]]
) -> None:
    process, children = outside("stubborn")  # deaf to the parent-death signal
    process.kill()
    process.wait()
    assert all(child.process() for child in children)
    supervisor = tree(folder, "other")
    supervisor.lock()
    assert supervisor.end_leftovers() == ["actor", "stage"]
    assert [child.process() for child in children] == [None, None]
    supervisor.unlock()


def test_orphans_of_a_killed_part_are_ended_with_the_rest(folder: Path) -> None:
    script = "sleep 60 & echo $! > child; touch $0.ready; wait"
    supervisor = Supervisor([[speaker("actor", folder, script)]], folder / "state", cwd=folder)
    with supervisor:
        orphan = Identity.of(int((folder / "child").read_text()))
        assert orphan
        supervisor.kill("actor")
        with pytest.raises(PartFailed):
            supervisor.watch()
        assert orphan.process()
    assert orphan.process() is None


def test_a_long_log_is_moved_aside_when_its_part_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.tree.LOG_LIMIT", 100)
    supervisor = tree(folder, "stage")
    log = supervisor.log("stage")
    log.parent.mkdir(parents=True)
    log.write_text("x" * 101)
    with supervisor:
        assert log.read_text() == ""
        assert log.with_suffix(".log.1").read_text() == "x" * 101


def test_clear_removes_all_but_the_lock_and_says_what(folder: Path) -> None:
    (folder / "chain").mkdir()
    (folder / "chain" / "state.json").write_bytes(b"12345")
    (folder / "lock").write_text("1")
    (folder / "elsewhere").symlink_to("/etc")
    assert clear(folder) == [("chain", 5), ("elsewhere", 4)]
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert Path("/etc/passwd").exists()


def test_a_status_is_said_in_words() -> None:
    assert describe_status(3) == "ended with status 3"
    assert describe_status(-9) == "was ended by SIGKILL"


def test_signal_handlers_are_given_back(folder: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_as_interrupts(tree(folder, "stage")):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
