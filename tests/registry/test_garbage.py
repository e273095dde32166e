"""Garbage collection: what people chose survives everything, what nobody needs goes, also in two attempts."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipelines import cli
from pipelines.artifacts.garbage import Report, apply, collect, make_plan
from pipelines.artifacts.lease import claim
from pipelines.artifacts.store import Store
from registry.entries import Entry, find_entry, list_entries
from registry.garbage import Policy
from registry.promote import promote, rollback, set_alias
from registry.pull import pull
from registry.register import log_evidence, register
from registry.server import connect, registries
from registry.shelf import EXPERIMENT
from zoo.errors import BadInputError, NotFoundError, ZooError
from zoo.files import atomic_folder

MakeLearngene = Callable[..., Path]
POLICY = Policy(days=10, newest=1)
LONG_AGO = 100 * 24 * 3600
pytestmark = pytest.mark.usefixtures("ready_home")


class Place:
    """A home with stages that can be made old."""

    def __init__(self, home: Path, learngene: MakeLearngene) -> None:
        self.home, self.learngene, self.store = home, learngene, Store(home / "store")

    def key(self, name: str) -> str:
        return name.encode().hex().ljust(64, "0")

    def folder(self, name: str) -> Path:
        return self.store.root / "stages" / self.key(name)

    def stage(self, name: str, seed: int | None = None, inputs: tuple[str, ...] = ()) -> Path:
        """A finished stage with a learngene in it, or some other bytes."""
        output = self.folder(name) / "output"
        if seed is None:
            output.mkdir(parents=True)
            (output / "model.safetensors").write_bytes(bytes(1000))
        else:
            shutil.copytree(self.learngene(seed), output)
        record = {"key": self.key(name), "stage": name, "function": "f/1", "config": {}, "output": "", "scores": {}}
        made_of = {str(index): self.key(source) for index, source in enumerate(inputs)}
        rest = {"inputs": made_of, "seconds": 1, "finished": ""}
        (self.folder(name) / "record.json").write_text(json.dumps(record | rest), encoding="utf-8")
        return output

    def version(self, seed: int, name: str = "vit", **tags: str) -> Entry:
        """A version with a stage of its own, made of another one."""
        self.stage(f"before-{seed}")
        output = self.stage(f"stage-{seed}", seed, (f"before-{seed}",))
        return register(output, name, metrics={}, tags={"key": self.key(f"stage-{seed}"), **tags})

    def make_old(self, seconds: float = LONG_AGO) -> None:
        """Let everything have happened so much earlier."""
        for path in [*(self.home / "store").rglob("*"), *(self.home / "cache").rglob("*")]:
            stat = path.stat()
            os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))
        with closing(sqlite3.connect(self.home / "registry.db")) as database, database:
            database.execute("UPDATE model_versions SET creation_time = creation_time - ?", (int(seconds * 1000),))
            database.execute("UPDATE runs SET start_time = start_time - ?", (int(seconds * 1000),))

    def stages(self) -> set[str]:
        names = {bytes.fromhex(path.name).rstrip(b"\0").decode() for path in (self.store.root / "stages").iterdir()}
        return {name for name in names if not name.startswith("before")}


@pytest.fixture
def place(ready_home: Path, learngene: MakeLearngene) -> Place:
    return Place(ready_home, learngene)


@pytest.fixture
def mount() -> Iterator[Callable[[Path], None]]:
    """Lets a folder be a mount point; skipped where we may not mount."""
    places: list[Path] = []

    def make(place: Path) -> None:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", place], check=False).returncode:
            pytest.skip("not allowed to mount")
        places.append(place)

    yield make
    for place in places:
        subprocess.run(["umount", place], check=True)


def gone(report: Report, kind: str) -> list[str]:
    return sorted(Path(item.what).name if "/" in item.what else item.what for item in report.gone if item.kind == kind)


def versions() -> list[int]:
    return [entry.version for entry in list_entries("vit")]


def tag(version: int, key: str, text: str) -> None:
    with connect() as client:
        client.set_model_version_tag("vit", str(version), key, text)


def choose_everything(place: Place) -> None:
    """Of nine old versions, one for every reason to stay, and 8 for none."""
    for seed in range(1, 10):
        place.version(seed)
    for number in (1, 2, 3):
        promote(f"vit:{number}")
    set_alias("vit", "candidate", 4)
    set_alias("vit", "edge", 5)
    tag(6, "keep", "for the paper")
    ready = register(place.learngene(20, "home/store/learngenes"), "vit-8x192", metrics={})
    with connect() as client:
        client.set_model_version_tag("vit-8x192", "1", "learngene.parent", find_entry("vit:7").digest)
    assert ready.version == 1
    place.make_old()


def everything(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.name not in ("gc.lock", "clock"))


def test_what_was_chosen_stays_with_all_it_was_made_of_and_the_rest_goes_as_the_dry_run_said(place: Place) -> None:
    choose_everything(place)
    before = everything(place.home)
    dry = collect(POLICY, dry_run=True)
    assert (everything(place.home), versions()) == (before, list(range(1, 10)))
    report = collect(POLICY, dry_run=False)
    assert ([item.what for item in report.gone], report.kept) == ([item.what for item in dry.gone], dry.kept)
    assert gone(report, "version") == ["vit:8"]
    assert gone(report, "stage") == sorted([place.key("stage-8"), place.key("before-8")])
    assert (report.spared, report.bytes) == ((), dry.bytes)
    assert versions() == [1, 2, 3, 4, 5, 6, 7, 9]
    assert report.kept["vit:1"] == "a rollback can go back to it"
    assert (report.kept["vit:5"], report.kept["vit:6"]) == ("alias edge", "tag keep")
    assert (report.kept["vit:7"], report.kept["vit-8x192:1"]) == ("vit-8x192:1 was made of it", "a ready model")
    assert report.bytes["stage"] > 1000
    for number in versions():
        pull(f"vit:{number}")
    assert [rollback("vit").version, rollback("vit").version] == [2, 1]
    assert collect(POLICY, dry_run=False).gone == ()
    place.make_old(-4 * LONG_AGO)
    assert collect(POLICY, dry_run=False).gone == ()  # the clock went back
    place.make_old(8 * LONG_AGO)
    assert gone(collect(POLICY, dry_run=False), "version") == ["vit:2", "vit:3"]  # rolled back from, long ago


def test_the_policy_says_what_else_stays(place: Place) -> None:
    for seed in range(1, 6):
        place.version(seed)
        set_alias("vit", "champion", seed)
    place.make_old()
    assert gone(collect(POLICY, dry_run=True), "version") == []
    few = Policy(days=10, newest=1, champions=1)
    assert gone(collect(few, dry_run=True), "version") == ["vit:1", "vit:2", "vit:3"]
    assert gone(collect(few.model_copy(update={"keep": ("vit:2",)}), dry_run=True), "version") == ["vit:1", "vit:3"]
    assert gone(collect(few.model_copy(update={"keep": ("vit",)}), dry_run=True), "version") == []
    for slip in ("vti", "vit:9", "vit@edge"):
        with pytest.raises(NotFoundError, match=f"--keep: there is no {slip}"):
            collect(few.model_copy(update={"keep": (slip,)}), dry_run=True)
    assert gone(collect(few.model_copy(update={"newest": 4}), dry_run=True), "version") == ["vit:1"]
    assert gone(collect(few.model_copy(update={"days": 101}), dry_run=True), "version") == []


def test_what_is_chosen_between_plan_and_deletion_survives(place: Place) -> None:
    for seed in range(1, 6):
        place.version(seed)
    place.stage("late", 30)
    place.stage("asked-for")
    place.stage("unused")
    place.make_old()
    plan = make_plan(POLICY, (), place.store)
    promote("vit:1")
    set_alias("vit", "edge", 2)
    tag(3, "keep", "")
    register(place.folder("late") / "output", "late", metrics={})
    assert place.store.record(place.key("asked-for"))
    report = apply(plan, (), place.store)
    assert versions() == [1, 2, 3, 5]
    assert place.stages() == {"stage-1", "stage-2", "stage-3", "stage-5", "late", "asked-for"}
    assert {reason for _, reason in report.spared} >= {"alias champion", "alias edge", "tag keep", "somebody used it"}
    pull("late")


def test_a_version_that_something_was_made_of_meanwhile_survives(place: Place) -> None:
    for seed in (1, 2):
        place.version(seed)
    place.make_old()
    plan = make_plan(POLICY, (), place.store)
    tag(2, "learngene.parent", find_entry("vit:1").digest)
    assert [reason for _, reason in apply(plan, (), place.store).spared][:1] == ["something was made of it"]
    assert versions() == [1, 2]


def test_a_promotion_in_the_last_gap_is_said_and_costs_no_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2):
        place.version(seed)
    place.make_old()
    with connect() as client:
        client_class = type(client)
    real = client_class.delete_model_version

    def late(self: Any, name: str, version: str) -> None:
        promote("vit:1")
        real(self, name, version)

    monkeypatch.setattr(client_class, "delete_model_version", late)
    with pytest.raises(ZooError, match="vit:1 was promoted in the moment in which it was deleted"):
        collect(POLICY, dry_run=False)
    assert place.stages() == {"stage-1", "stage-2"}


@pytest.mark.parametrize("step", (0, 1, 3, 4, 6, 7))
def test_a_collection_that_is_killed_is_completed_by_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    for seed in (1, 2):
        place.version(seed)
    place.make_old()
    steps = iter(range(1000))

    def until(real: Callable[..., Any]) -> Callable[..., Any]:
        def dies(*args: Any, **kwargs: Any) -> Any:
            if next(steps) >= step:
                raise SystemExit  # nothing of ours catches it, as nothing catches a kill
            return real(*args, **kwargs)

        return dies

    with connect() as client:
        client_class = type(client)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "rename", until(Path.rename))
        patch.setattr(shutil, "rmtree", until(shutil.rmtree))
        for call in ("delete_model_version", "delete_logged_model", "delete_run"):
            patch.setattr(client_class, call, until(getattr(client_class, call)))
        collect(POLICY, dry_run=False)
    collect(POLICY, dry_run=False)
    assert (versions(), place.stages()) == ([2], {"stage-2"})
    assert not [path.name for path in (place.store.root / "stages").iterdir() if path.name.startswith(".")]
    with connect() as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment
        runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(list_entries())


def test_work_of_a_living_run_and_fresh_halves_are_left_alone(place: Place) -> None:
    place.version(1)
    root = place.store.root
    living, dead, fresh = (place.key(name) for name in ("living", "dead", "fresh"))
    lease = claim(root, living, 0)
    assert lease
    for key in (living, dead):
        (root / "work" / key / "1/checkpoints").mkdir(parents=True)
    old, half, writing = (f".{place.key(name)}.x1_y" for name in ("old", "half", "writing"))
    for folder in (
        root / "stages" / old,
        root / "learngenes" / place.key("upload"),
        place.home / "cache/learngenes" / half,
    ):
        folder.mkdir(parents=True)
    place.make_old()
    (root / "work" / fresh / "1").mkdir(parents=True)
    (root / "learngenes" / writing).mkdir()
    os.utime(lease.path)
    report = collect(POLICY, dry_run=False)
    assert sorted(gone(report, "work") + gone(report, "leftover")) == sorted([dead, half, old])
    assert gone(report, "artifact") == [place.key("upload")]
    assert sorted(path.name for path in (root / "work").iterdir()) == sorted([living, fresh])
    assert [path.name for path in (root / "learngenes").iterdir()] == [writing]
    lease.release()


def test_dotted_names_that_are_not_ours_are_never_deleted(place: Place) -> None:
    place.version(1)
    others = [".snapshot", ".zfs", ".Trash-0", ".nfs00000001", ".half", ".doctor", ".git.gc", ".fetched"]
    folders = (place.store.root, place.store.root / "stages", place.home / "cache", place.home / "cache/data")
    for path in (folder / name for folder in folders for name in others):
        path.mkdir(parents=True)
    place.make_old()
    assert collect(POLICY, dry_run=False).gone == ()
    assert all((folder / name).is_dir() for folder in folders for name in others)


def test_what_we_left_half_done_goes_wherever_it_lies(place: Place) -> None:
    place.version(1)
    data = place.home / "cache/data"
    with pytest.raises(SystemExit), atomic_folder(data / place.key("set")) as half:
        shutil.copytree(half, data / f"{half.name}0")  # of a process that could not clean up after itself
        raise SystemExit
    left = [
        place.store.root / ".doctor.a_1b",
        place.home / "cache/.fetched.xyz",
        place.store.root / f".probe-{'a' * 32}",
    ]
    for path in left:
        path.touch()
    place.make_old()
    wanted = sorted([*(path.name for path in left), f"{half.name}0"])
    assert gone(collect(POLICY, dry_run=False), "leftover") == wanted
    assert not any(path.exists() for path in [*left, data / f"{half.name}0"])


def test_what_cannot_be_deleted_is_spared_with_the_reason(place: Place, mount: Callable[[Path], None]) -> None:
    place.version(1)
    stuck, half = (place.store.root / f"stages/.{place.key(name)}.x" for name in ("stuck", "half"))
    for path in (stuck, half):
        path.mkdir()
    mount(stuck)
    place.make_old()
    report = collect(POLICY, dry_run=False)
    ((item, reason),) = report.spared
    assert (item.what, reason) == (str(stuck), "it cannot be deleted: Device or resource busy")
    assert not half.exists()


def test_a_dry_run_changes_nothing_in_the_store_also_after_a_killed_collection(place: Place) -> None:
    place.version(1)
    aside = place.folder("stage-1").with_name(f".{place.key('stage-1')}.gc")
    place.folder("stage-1").rename(aside)
    before = everything(place.home)
    collect(POLICY, dry_run=True)
    assert everything(place.home) == before
    collect(POLICY, dry_run=False)
    assert (aside.exists(), place.stages()) == (False, {"stage-1"})


def test_a_run_that_takes_the_stage_up_between_plan_and_deletion_keeps_it(place: Place) -> None:
    place.version(1)
    key = place.key("abandoned")
    (place.store.root / "work" / key / "1").mkdir(parents=True)
    place.make_old()
    plan = make_plan(POLICY, (), place.store)
    lease = claim(place.store.root, key, 1)
    assert lease
    ((item, reason),) = apply(plan, (), place.store).spared
    assert (item.kind, reason) == ("work", "a run works on it")
    lease.release()


def test_what_a_dead_registration_left_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.version(1)
    with connect() as client:
        client_class = type(client)

    def dies(*_: Any, **__: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(client_class, "create_model_version", dies)
        place.version(2)
    assert collect(POLICY, dry_run=True).gone == ()
    place.make_old()
    report = collect(POLICY, dry_run=False)
    assert len(gone(report, "run")) == 1
    assert gone(report, "stage") == sorted([place.key("stage-2"), place.key("before-2")])
    with connect() as client:
        assert len(client.search_runs(["1"])) == len(client.search_logged_models(["1"])) == 1


def test_what_another_registry_of_this_home_holds_is_needed(
    place: Place, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(database, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    place.version(1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    place.version(2)
    place.make_old()
    assert len(registries()) == 2
    assert collect(POLICY, dry_run=False).gone == ()
    assert place.stages() == {"stage-1", "stage-2"}


def test_an_empty_registry_does_not_make_a_store_garbage(place: Place) -> None:
    place.stage("precious")
    place.make_old()
    with pytest.raises(BadInputError, match=r"MLFLOW_TRACKING_URI: .*is this the right registry"):
        collect(POLICY, dry_run=False)


def test_pulled_learngenes_go_when_nobody_names_them(place: Place) -> None:
    for seed in (1, 2):
        place.version(seed)
        pull(f"vit:{seed}")
    first, second = (find_entry(f"vit:{number}").digest for number in (1, 2))
    place.make_old()
    assert gone(collect(POLICY, dry_run=False), "cache") == [first]
    assert (place.home / "cache/learngenes" / second).is_dir()


def test_the_report_of_a_bench_goes_with_its_version_and_is_counted(place: Place, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report/RESULTS.md").write_bytes(bytes(3000))
    entries = [log_evidence(place.version(seed), {}, tmp_path / "report", "bench/b") for seed in (1, 2)]
    place.make_old()
    reports = place.home / "registry-artifacts"
    assert len(list(reports.rglob("RESULTS.md"))) == len(entries)
    dry = collect(POLICY, dry_run=True)
    assert dry.bytes["version"] == 3000
    assert collect(POLICY, dry_run=False).bytes == dry.bytes
    assert len(list(reports.rglob("RESULTS.md"))) == 1


def test_one_collection_at_a_time(place: Place) -> None:
    place.version(1)
    with FileLock(place.store.root / "gc.lock"), pytest.raises(ZooError, match="another collection"):
        collect(POLICY, dry_run=True)


def test_the_verb_says_what_would_go(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(1, 4):
        place.version(seed)
    place.make_old()

    def zoo(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["zoo", "gc", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    code, out, _ = zoo("--dry-run", "--json", "--newest", "1", "--keep", "vit:1")
    answer = json.loads(out)
    assert (code, answer["dry_run"], [item["what"] for item in answer["gone"]][:1]) == (0, True, ["vit:2"])
    assert answer["total"] == sum(answer["bytes"].values()) > 0
    code, out, err = zoo("--newest", "1")
    assert (code, "vit:1" in out, "1 versions stay" in err) == (0, True, True)
    assert zoo("--keep", "nowhere.yaml")[0] == 3
    assert versions() == [3]
