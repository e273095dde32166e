"""Leases: real processes that want the same stage, some of which die or sleep while they hold it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from contender import KEY

from pipelines.artifacts.lease import claim, look
from pipelines.artifacts.store import Store

CONTENDER = Path(__file__).with_name("contender.py")
DEADLINE = 60


class Run:
    """A contender that can be told what to do."""

    def __init__(self, root: Path, name: str, ttl: float) -> None:
        command = [sys.executable, str(CONTENDER), str(root), str(ttl), name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def hears(self, *wanted: str) -> str:
        """The next line that begins with one of the wanted words."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(wanted):
                return line.strip()
        raise AssertionError(f"it ended without {wanted}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def start(root: Path) -> Iterator:
    started: list[Run] = []

    def start(name: str, ttl: float = 30.0, *, at_once: bool = True) -> Run:
        started.append(Run(root, name, ttl))
        if at_once:
            started[-1].tell("go")
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()


def made_by(root: Path) -> str:
    store = Store(root)
    assert store.record(KEY) is not None
    return (store.verified(KEY) / "name").read_text()


def assert_nothing_is_left(root: Path) -> None:
    assert {path.name for path in root.iterdir()} - {"clock"} == {"leases", "stages", "work"}
    assert not list((root / "leases").iterdir())
    assert not list((root / "work").iterdir())
    assert [path.name for path in (root / "stages").iterdir()] == [KEY]


def test_of_many_runs_one_makes_the_stage_and_all_others_take_it(root: Path, start) -> None:
    runs = [start(str(i), at_once=False) for i in range(8)]
    for run in runs:
        run.hears("ready")
    for run in runs:  # all have begun: they meet
        run.tell("go\nstep-1\ncommit")
    ends = [run.hears("made", "took", "lost") for run in runs]
    assert sorted(ends) == ["made", *["took"] * 7]
    assert made_by(root) == str(ends.index("made"))
    assert_nothing_is_left(root)


def test_a_killed_holder_is_followed_at_once_by_one_that_goes_on_where_it_was(root: Path, start) -> None:
    first, second = start("first"), start("second")
    holder, other = (first, second) if _holds(first, second) else (second, first)
    holder.tell("step-1\nstep-2")
    holder.hears("saved")
    holder.hears("saved")
    began = monotonic()
    holder.process.send_signal(signal.SIGKILL)
    assert other.hears("holds") == "holds 2 step-2"
    assert monotonic() - began < 15  # not the 30 seconds after which it would have to be
    other.tell("commit")
    assert other.hears("made", "took", "lost") == "made"
    assert_nothing_is_left(root)


def _holds(first: Run, second: Run) -> bool:
    """Whether it is the first that holds the stage; both have said what they do."""
    lines = [first.hears("holds", "waits"), second.hears("holds", "waits")]
    assert sorted(line.split()[0] for line in lines) == ["holds", "waits"]
    return lines[0].startswith("holds")


@pytest.mark.parametrize("wakes", ["after the successor's end", "before the successor's end"])
def test_a_sleeper_is_followed_and_can_do_no_harm_when_it_wakes(root: Path, start, wakes: str) -> None:
    sleeper = start("sleeper", 1.0)
    assert sleeper.hears("holds") == "holds 1"
    sleeper.tell("step-1")
    sleeper.hears("saved")
    sleeper.process.send_signal(signal.SIGSTOP)
    successor = start("successor", 1.0)
    assert successor.hears("holds") == "holds 2 step-1"
    if wakes.startswith("before"):
        sleeper.process.send_signal(signal.SIGCONT)
        sleeper.tell("step-2\ncommit")
        assert "another one took over" in sleeper.hears("made", "took", "lost")
    successor.tell("commit")
    assert successor.hears("made", "took", "lost") == "made"
    if wakes.startswith("after"):
        sleeper.process.send_signal(signal.SIGCONT)
        sleeper.tell("commit")
        assert sleeper.hears("made", "took", "lost") == "took"
    assert made_by(root) == "successor"
    assert_nothing_is_left(root)


def test_a_sleeper_whom_nobody_followed_goes_on(root: Path, start) -> None:
    sleeper = start("sleeper", 0.2)
    sleeper.hears("holds")
    sleeper.process.send_signal(signal.SIGSTOP)
    until = monotonic() + DEADLINE
    while look(root, KEY) is not None:  # until its lease is anybody's
        assert monotonic() < until
    sleeper.process.send_signal(signal.SIGCONT)
    sleeper.tell("commit")
    assert sleeper.hears("made", "took", "lost") == "made"
    assert_nothing_is_left(root)


def test_who_holds_a_stage_is_known_while_it_lives(root: Path, start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_JOB", "nightly-1")
    run = start("it")
    run.hears("holds")
    holder = Store(root).holder(KEY)
    assert holder is not None
    assert (holder.pid, holder.job) == (run.process.pid, "nightly-1")
    assert f"pid {run.process.pid}, job nightly-1" in str(holder)
    run.process.kill()
    run.process.wait()
    assert Store(root).holder(KEY) is None


def test_tokens_grow_also_when_a_lease_was_given_back(root: Path) -> None:
    store = Store(root)
    tokens = []
    for _ in range(3):
        with store.lease(KEY, lambda _: None, lambda: False) as place:
            assert place
            tokens.append(place.lease.token)
    assert tokens == [1, 2, 3]


def test_a_lease_that_another_host_holds_is_only_free_when_it_is_too_old(root: Path) -> None:
    """Its locks mean nothing here: here that is a lease that says it was locked by another kernel."""
    lease = claim(root, KEY, 0)
    assert lease is not None
    text = lease.path.read_text()
    assert lease.holder.kernel
    lease.release()
    lease.path.parent.mkdir()
    lease.path.write_text(text.replace(lease.holder.kernel, "another"))
    assert look(root, KEY) is not None
    assert claim(root, KEY, 0) is None
    old = lease.path.stat().st_mtime - 31
    os.utime(lease.path, (old, old))
    assert look(root, KEY) is None
    successor = claim(root, KEY, 0)
    assert successor is not None
    assert successor.token == 2
    successor.release()
