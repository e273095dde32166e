"""How fast a job starts that only pulls: a fresh environment with `learngene-zoo[pull,vision]`, an MLflow server.

Both in CPU time with one thread, which is what an idle machine takes; the clock is said too.

- `pull_job.weights`: from the start of Python to the weights of a ViT of a new size, beside the limit: imports,
  the learngene found and pulled over REST into an empty cache, verified and expanded.
- `pull_job.folder`: all of `zoo instantiate` beside importing torch, mlflow and timm, which it needs.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.registry_servers import mlflow_server
from benchmarks.rows import SEED, Row, at_most, main, say

LIMIT, SHARE = 3.0, 1.5
REPEATS = 5
NAME = "vit.front"
WEIGHTS = f"""
from zoo.api import locate
from zoo.learngene import Learngene
learngene = Learngene.load(locate({NAME!r}))
learngene.expand(learngene.size(4, 64))
"""
LIBRARIES = "import torch, timm; from mlflow import MlflowClient"


def measure() -> list[Row]:
    """Both rows."""
    with (
        TemporaryDirectory() as folder,
        light_environment(Path(folder)) as python,
        registry(Path(folder)) as address,
    ):
        ready = Path(folder) / "home" / "ready"
        size = ("--depth", "4", "--width", "64", "--out", str(ready))
        instantiate = (str(Path(python).with_name("zoo")), "instantiate", NAME, *size)
        own = {"MLFLOW_TRACKING_URI": address, "ZOO_HOME": str(ready.parent), "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **own}
        weights = _seconds((python, "-c", WEIGHTS), environment)
        libraries = _seconds((python, "-c", LIBRARIES), environment)
        whole = _seconds((python, *instantiate), environment)
    return [
        at_most(1.0, name="pull_job.weights", ours=weights, baseline=LIMIT, unit="s"),
        at_most(SHARE, name="pull_job.folder", ours=whole, baseline=libraries, unit="s"),
    ]


def _seconds(command: tuple[str, ...], environment: dict[str, str]) -> float:
    """The median of fresh processes, each with an empty cache; the first one is not counted."""
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(REPEATS + 1):
        shutil.rmtree(environment["ZOO_HOME"], ignore_errors=True)
        before, began = _cpu_seconds(), perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        wall.append(perf_counter() - began)
        cpu.append(_cpu_seconds() - before)
    shown = command[-1].strip().splitlines()[-1]
    say(f"{shown}: {median(cpu[1:]):.2f} s of CPU time, {median(wall[1:]):.2f} s by the clock")
    return median(cpu[1:])


def _cpu_seconds() -> float:
    """Of the children that have ended: on a machine that others use too, the clock says something else."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def light_environment(folder: Path) -> Iterator[str]:
    """Yield the Python of a fresh environment with what a pull job installs, in the versions of the lock."""
    uv = shutil.which("uv") or ".uv/bin/uv"
    python = str(folder / "light" / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "light")], check=True)
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    subprocess.run([*install, "-c", "requirements.lock", ".[pull,vision]"], check=True)
    yield python


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Yield the address of a server that knows one learngene."""
    import torch

    from registry.register import register
    from zoo.api import condense
    from zoo.checkpoint import Checkpoint
    from zoo.families import architecture
    from zoo.methods.front import Front
    from zoo.size import Size

    torch.manual_seed(SEED)
    config = {"img_size": 32, "patch_size": 4, "in_chans": 3, "num_classes": 10}
    arch = architecture("vit", config, Size(depth=6, width=96, heads=3, mlp=384))
    weights = {name: torch.randn(shape) for name, shape in arch.shapes().items()}
    condense(Checkpoint(arch, weights), Front(keep=0.5)).save(folder / "learngene")
    with mlflow_server(f"sqlite:///{folder}/registry.db", folder) as address:
        os.environ["MLFLOW_TRACKING_URI"] = address
        register(folder / "learngene", NAME, metrics={})
        yield address


if __name__ == "__main__":
    main(measure, __doc__)
