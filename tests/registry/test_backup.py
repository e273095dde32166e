"""Backup and restore with the very commands of the run book."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines import cli
from pipelines.artifacts.garbage import collect
from registry.entries import find_entry, list_entries
from registry.garbage import Policy
from registry.promote import history, promote
from registry.pull import pull
from registry.register import register
from zoo.errors import NotFoundError

MakeLearngene = Callable[..., Path]
GUIDE = Path(__file__).parents[2] / "docs/operations.md"


def command(first_words: str) -> str:
    """The block of the run book that begins so."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if block.startswith(first_words))


BACK_UP, RESTORE = command("flock"), command("mkdir")


def sh(script: str, home: Path, backup: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"ZOO_HOME": str(home), "BACKUP": str(backup), "PATH": path}
    subprocess.run(["sh", "-euc", script], env=env, check=True)


@pytest.fixture
def backup(ready_home: Path, learngene: MakeLearngene, tmp_path: Path) -> Path:
    """Two champions were backed up while a run was at work."""
    for seed in (1, 2):
        register(learngene(seed, "home/store/learngenes"), "vit", metrics={"accuracy": seed / 10})
        promote(f"vit:{seed}", reason="before the backup")
    (ready_home / "store/work" / "unfinished").mkdir(parents=True)
    folder = tmp_path / "backup"
    folder.mkdir()
    sh(BACK_UP, ready_home, folder)
    return folder


LOOK = """
import json
from pipelines.artifacts.garbage import collect
from registry.entries import list_entries
from registry.garbage import Policy
from registry.promote import history, rollback
from registry.pull import pull

print(json.dumps({
    "entries": [entry.to_json() for entry in list_entries()],
    "history": [event.to_json() for event in history("vit")],
    "pulled": pull("vit@champion").name,
    "garbage": collect(Policy(), dry_run=True).to_json()["gone"],
    "back": rollback("vit").version,
}))
"""


def test_what_was_backed_up_is_there_after_everything_was_lost(ready_home: Path, backup: Path) -> None:
    before = {
        "entries": [entry.to_json() for entry in list_entries()],
        "history": [event.to_json() for event in history("vit")],
        "pulled": find_entry("vit:2").digest,
        "garbage": [],
        "back": 1,
    }
    register(ready_home / "store/learngenes/1", "later", metrics={})
    shutil.rmtree(ready_home)
    sh(RESTORE, ready_home, backup)
    # in another process: this one still has the lost database open
    found = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == before
    assert not (ready_home / "store/work").exists()


def test_in_another_place_the_registry_is_told_where_things_are(
    ready_home: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    sh(RESTORE, elsewhere, backup)
    shutil.rmtree(ready_home)
    monkeypatch.setenv("ZOO_HOME", str(elsewhere))
    with pytest.raises(NotFoundError, match="holds no learngene any more"):
        pull("vit")
    kept = collect(Policy(days=1), dry_run=True)
    assert (kept.gone, len(kept.kept)) == ((), 2)

    def moved(old: Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["zoo", "moved", str(old)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    (elsewhere / "store/learngenes/2").rename(tmp_path / "2")
    code, said = moved(ready_home / "store")
    assert (code, "nothing was changed" in said) == (3, True)
    (tmp_path / "2").rename(elsewhere / "store/learngenes/2")
    code, said = moved(ready_home / "store")
    assert (code, said.startswith("2 versions point to")) == (0, True)
    assert pull("vit").is_dir()
    assert moved(Path("store"))[0] == 2


def test_a_backup_and_a_collection_wait_for_each_other(ready_home: Path) -> None:
    """The lock that the run book takes is that of the collection."""
    script = f"{BACK_UP.partition(' sh ')[0].replace('flock', 'flock --nonblock --conflict-exit-code 9')} true"
    (ready_home / "store").mkdir()
    with FileLock(ready_home / "store/gc.lock"), pytest.raises(subprocess.CalledProcessError) as refused:
        sh(script, ready_home, ready_home)
    assert refused.value.returncode == 9
