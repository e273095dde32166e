"""What a job loads that only pulls: no training code, no cluster, no server, and not torch's compiler."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.pull import pull
from registry.register import register
from zoo.errors import BadInputError

MakeLearngene = Callable[..., Path]
HEAVY = ("ray", "deepspeed", "trainers", "infra", "timm", "transformers", "torch._dynamo", "mlflow.server", "flask")
JOB = """
import pipelines.models.making
from zoo.api import locate
from zoo.learngene import Learngene

learngene = Learngene.load(locate("vit"))
assert learngene.expand(learngene.size(2, 12))
"""


def test_without_a_database_library_an_sqlite_registry_is_refused(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    with pytest.raises(BadInputError, match=r"an SQLite file needs learngene-zoo\[registry\]"):
        pull("vit")


def test_pulling_and_expanding_loads_nothing_heavy(learngene: MakeLearngene, ready_home: Path) -> None:
    register(learngene(), "vit", metrics={})
    code = f"import json, sys\n{JOB}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    environment = {**os.environ, "ZOO_HOME": str(ready_home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_instantiating_without_data_loads_no_training_code(
    learngene: MakeLearngene, ready_home: Path, tmp_path: Path
) -> None:
    register(learngene(), "vit", metrics={})
    words = ["instantiate", "vit", "--depth", "2", "--width", "12", "--out", str(tmp_path / "ready")]
    code = f"import sys\nfrom pipelines.cli import app\napp({words!r}, standalone_mode=False)\n"
    asked = "print([name for name in ('trainers', 'infra', 'ray', 'deepspeed') if name in sys.modules])"
    environment = {**os.environ, "ZOO_HOME": str(ready_home)}
    done = subprocess.run(
        [sys.executable, "-c", code + asked], env=environment, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "ready" / "model.safetensors").is_file()
    assert done.stdout.splitlines()[-1] == "[]"
