"""What orchestration costs: Ray beside plain torchrun, a recipe whose stages are all done, the way to a first step.

- `training`: milliseconds a sample of two workers with DeepSpeed (ZeRO 2), started by Ray and by torchrun in turns; the
  ratio is the median of the pairs. Nobody's Ray runs beside torchrun.
- `cached`: seconds of `zoo run` for a recipe of 20 stages that are all done, registry asked, beside the limit.
- `first_step`: seconds from `zoo run` to the tenth step of a training on a Ray that runs already, beside the limit:
  of one worker, and of two with DeepSpeed. Needs namespaces (root on Linux) and a PostgreSQL server.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import yaml

from benchmarks.faults.cluster import BIN, Cluster, cluster, why_not
from benchmarks.faults.hosts import SHARED, STORE
from benchmarks.faults.waiting import until
from benchmarks.rows import Row, at_most, main, say
from benchmarks.training import SPEEDS, WORKERS, Speed, train_a_while
from zoo.files import home

PAIRS = 4
REPEATS = 5
SHARE = 0.95
"""Of torchrun's samples per second that Ray must reach."""
CACHED_SECONDS, FIRST_STEP_SECONDS = 3.0, 20.0
STAGES = 20
SECONDS = 300
_SIZE = {"depth": 2, "width": 32, "heads": 2, "mlp": 64}
_RECIPE = {
    "name": "overhead",
    "family": "vit",
    "config": {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10},
    "data": {"kind": "digits", "limit": 256},
}
GROUP = {"workers": WORKERS, "engine": "deepspeed", "zero": 2}


def measure() -> list[Row]:
    """All rows that this machine can measure."""
    rows = [training(), cached()]
    if reason := why_not():
        say(f"no rows of first_step: {reason}")
        return rows
    return [*rows, *first_steps()]


def training() -> Row:
    """Ray beside torchrun, by the clock; their CPU times are said too, for a machine that is not idle."""
    pairs: list[dict[Callable[[str], None], Speed]] = []
    for pair in range(PAIRS):
        order = (by_ray, by_torchrun) if pair % 2 == 0 else (by_torchrun, by_ray)
        pairs.append({start: _speed(start) for start in order})
        say(f"pair {pair + 1}: Ray {pairs[-1][by_ray]}, torchrun {pairs[-1][by_torchrun]}")
    wall = [pair[by_ray].wall / pair[by_torchrun].wall for pair in pairs]
    cpu = [pair[by_ray].cpu / pair[by_torchrun].cpu for pair in pairs]
    for name, ratios in (("the clock", wall), ("CPU time", cpu)):
        spread = f"{1 / max(ratios):.1%} to {1 / min(ratios):.1%}"
        say(f"by {name} Ray reaches {1 / median(ratios):.1%} of torchrun's samples per second ({spread})")
    ours, theirs = (1000 * median(pair[start].wall for pair in pairs) for start in (by_ray, by_torchrun))
    name = "overhead.training"
    return at_most(1 / SHARE, name=name, ours=ours, baseline=theirs, unit="ms/sample", ratio=median(wall))


def _speed(start: Callable[[str], None]) -> Speed:
    """The median over the training."""
    with tempfile.TemporaryDirectory() as folder:
        start(folder)
        rows = json.loads((Path(folder) / SPEEDS).read_text(encoding="utf-8"))
    return Speed(*(median(row[clock] for row in rows) for clock in Speed._fields))


def by_ray(folder: str) -> None:
    """As `zoo run` starts a group."""
    from infra.cluster import connect
    from trainers.deepspeed_ops import build_ops

    with connect("local", cpus=WORKERS) as ray:
        ray.run_group(train_a_while, folder, workers=WORKERS, prepare=build_ops)


def by_torchrun(folder: str) -> None:
    """As one does without Ray."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORKERS}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    subprocess.run([*torchrun, "-m", "benchmarks.training", folder], env=env, check=True, stdout=sys.stderr)


def cached() -> Row:
    """`zoo run`, the process and all, when nothing is left to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(many_stages(), encoding="utf-8")
        seconds = [_timed_run(path, Path(folder) / "home") for _ in range(1 + REPEATS)]
    say(f"{STAGES} cached stages: {', '.join(f'{one:.2f}' for one in seconds[1:])} s; {seconds[0]:.0f} s before")
    took = median(seconds[1:])
    return at_most(1.0, name=f"overhead.cached.{STAGES}", ours=took, baseline=CACHED_SECONDS, unit="s")


def _timed_run(recipe: Path, folder: Path) -> float:
    began = perf_counter()
    env = {**os.environ, "ZOO_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([BIN / "zoo", "run", recipe], env=env, check=True, stdout=sys.stderr)
    return perf_counter() - began


def first_steps() -> Iterator[Row]:
    """One worker, and a group, on a node with two CPUs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster(home() / "cache/torch_extensions", Path(folder), {"head": WORKERS}) as running,
    ):
        for name, resources in (("worker", {}), ("group", GROUP)):
            seconds = [_first_step(running, f"{name}{n}", resources) for n in range(1 + REPEATS)]
            say(f"first steps of a {name}: {', '.join(f'{one:.1f}' for one in seconds[1:])} s; {seconds[0]:.0f} s cold")
            took = median(seconds[1:])
            yield at_most(1.0, name=f"overhead.first_step.{name}", ours=took, baseline=FIRST_STEP_SECONDS, unit="s")


def _first_step(running: Cluster, name: str, resources: dict[str, Any]) -> float:
    (running.shared / f"{name}.yaml").write_text(one_stage(resources), encoding="utf-8")
    began = perf_counter()
    command = ["run", SHARED / f"{name}.yaml", "--address", running.address]
    driver = running.start_zoo(STORE / name, *command)
    work = running.shared / STORE.name / name / "store/work"
    until(lambda: next(work.glob("**/progress.json"), None), "the first steps", SECONDS, driver.hopeless)
    took = perf_counter() - began
    assert driver.wait(SECONDS) == 0, driver.said()
    return took


def many_stages() -> str:
    """A recipe of an ancestor and learngenes of it, one of them registered."""
    ancestor = {"run": "pretrain", "size": _SIZE, "train": {"steps": 2, "batch": 32}}
    fronts = {
        f"front{n}": {
            "run": "condense",
            "weights": {"stage": "ancestor"},
            "method": {"name": "front", "keep": n / STAGES},
        }
        for n in range(1, STAGES)
    }
    return _yaml({"ancestor": ancestor, **fronts}, {"overhead.front": {"stage": "front1"}})


def one_stage(resources: dict[str, Any]) -> str:
    """A recipe of one training."""
    stage = {"run": "pretrain", "size": _SIZE, "train": {"steps": 500, "batch": 32}, "resources": resources}
    return _yaml({"ancestor": stage}, {})


def _yaml(stages: dict[str, Any], register: dict[str, Any]) -> str:
    return yaml.safe_dump({**_RECIPE, "stages": stages, "register": register}, sort_keys=False)


if __name__ == "__main__":
    main(measure, __doc__)
