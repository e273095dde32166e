"""The promises of `zoo schedule`: a checked recipe, a checked time, and the pods that the stages need."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.pods import Pods
from infra.resources import GIB, Resources
from pipelines.recipe.file import load_recipe
from pipelines.run.schedule import Schedule, next_time, pods_for, schedule
from zoo.errors import BadInputError

ROOT = Path(__file__).parents[2]
HEAD = """
name: My.Digits_1
family: vit
config: {img_size: 8, patch_size: 4, in_chans: 1, num_classes: 10}
data: {kind: digits}
stages:
"""
STAGE = """  {name}:
    run: pretrain
    size: {{depth: 1, width: 8, heads: 1}}
    train: {{steps: 2, batch: 16}}
    resources: {{workers: {workers}, cpus_per_worker: {cpus}, gpus_per_worker: {gpus}}}
"""


def recipe_file(folder: Path, *needs: tuple[int, int, int]) -> Path:
    """A recipe with a stage for every (workers, CPUs, GPUs)."""
    stages = [STAGE.format(name=f"s{i}", workers=w, cpus=c, gpus=g) for i, (w, c, g) in enumerate(needs)]
    path = folder / "recipe.yaml"
    path.write_text(HEAD + "".join(stages))
    return path


def scheduled(path: Path, cron: str = "0 3 * * 0", **changes: Any) -> Schedule:
    options: dict[str, Any] = {"name": None, "namespace": "zoo", "image": None, "queue": None, **changes}
    return schedule(path, (), cron, **options)


@pytest.mark.parametrize(
    ("needs", "groups"),
    [
        ([(1, 1, 0)], [(1, 1, 0)]),
        ([(1, 2, 0), (1, 8, 0)], [(1, 8, 0)]),
        ([(2, 1, 0), (4, 1, 0)], [(4, 1, 0)]),
        ([(4, 8, 1), (1, 1, 0), (8, 4, 0)], [(4, 8, 1)]),
        ([(2, 8, 1), (16, 4, 0)], [(2, 8, 1), (16, 4, 0)]),
    ],
)
def test_every_stage_fits_and_small_ones_need_no_pods_of_their_own(
    tmp_path: Path, needs: list[tuple[int, int, int]], groups: list[tuple[int, int, int]]
):
    found = pods_for(load_recipe(recipe_file(tmp_path, *needs)))
    assert found == tuple(Pods(count, Resources(cpus, gpus), count) for count, cpus, gpus in groups)


def test_pods_follow_the_memory_the_custom_resources_and_the_least_number_of_workers(tmp_path: Path):
    path = recipe_file(tmp_path, (4, 2, 1), (1, 1, 0))
    sets = ("memory=6GiB", "custom.A100=1", "min_workers=2")
    recipe = load_recipe(path, tuple(f"stages.s0.resources.{text}" for text in sets))
    assert pods_for(recipe) == (Pods(4, Resources(2, 1, 6 * GIB, {"A100": 1}), 2),)


def test_a_single_worker_is_a_pod_with_ray_inside(tmp_path: Path):
    files, job = scheduled(recipe_file(tmp_path, (1, 2, 0))).manifests
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["zoo", "run", "/etc/zoo/recipe.yaml", "--address", "local", "--events"]
    assert container["image"] == "learngene-zoo:cpu"
    assert files["data"].keys() == {"recipe.yaml"}


def test_several_workers_are_a_ray_cluster_that_the_run_finds(tmp_path: Path):
    path = recipe_file(tmp_path, (2, 2, 1))
    made = schedule(path, ("stages.s0.train.lr=0.1",), "0 3 * * 0", name="n", namespace="m", image=None, queue=None)
    (files, _) = made.manifests
    job = yaml.safe_load(files["data"]["rayjob.yaml"])
    assert job["metadata"]["namespace"] == "m"
    run = "zoo run /etc/zoo/recipe.yaml --address auto --events --set stages.s0.train.lr=0.1"
    assert job["spec"]["entrypoint"] == run
    worker = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    assert worker["image"] == "learngene-zoo:cuda"
    assert files["data"]["recipe.yaml"] == path.read_text()


def test_a_profile_travels_with_the_recipe_and_decides_about_pods(tmp_path: Path):
    path, profile = recipe_file(tmp_path, (1, 1, 0)), tmp_path / "cluster.yaml"
    profile.write_text("run: {pretrain: {workers: 3, cpus_per_worker: 4}}")
    made = scheduled(path, profile=profile)
    files, _ = made.manifests
    assert [(pods.count, pods.worker.cpus) for pods in made.pods] == [(3, 4)]
    assert files["data"]["profile.yaml"] == profile.read_text()
    assert "--profile /etc/zoo/profile.yaml" in yaml.safe_load(files["data"]["rayjob.yaml"])["spec"]["entrypoint"]


@pytest.mark.parametrize(("nodes", "pods"), [(1, [(1, 8)]), (4, [(4, 2)])])
def test_workers_share_pods_as_they_may_share_nodes(tmp_path: Path, nodes: int, pods: list[tuple[int, int]]):
    path, profile = recipe_file(tmp_path, (1, 8, 0), (4, 2, 0)), tmp_path / "cluster.yaml"
    profile.write_text(f"stages: {{s1: {{nodes: {nodes}}}, s0: {{cpus_per_worker: {8 if nodes == 1 else 2}}}}}")
    assert [(each.count, each.worker.cpus) for each in scheduled(path, profile=profile).pods] == pods


def test_the_name_is_the_recipes_as_kubernetes_spells_it(tmp_path: Path):
    made = scheduled(recipe_file(tmp_path, (1, 1, 0)))
    assert {one["metadata"]["name"] for one in made.manifests} == {"my-digits-1"}


@pytest.mark.parametrize(
    ("option", "value"), [("name", "Bad"), ("namespace", "no.dots"), ("queue", ""), ("name", "x" * 48)]
)
def test_a_name_that_kubernetes_refuses_is_refused_here(tmp_path: Path, option: str, value: str):
    with pytest.raises(BadInputError, match=f"{option}: '{value}' is no name"):
        scheduled(recipe_file(tmp_path, (1, 1, 0)), **{option: value})


def test_a_recipe_with_a_mistake_is_not_scheduled(tmp_path: Path):
    path = recipe_file(tmp_path, (1, 1, 0))
    path.write_text(path.read_text().replace("steps: 2", "step: 2"))
    with pytest.raises(BadInputError, match=r"recipe.yaml:10: stages.s0.train.step: unknown field"):
        scheduled(path)


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("60 * * * *", "minute is '60'; legal: 0-59"),
        ("* 24 * * *", "hour is '24'; legal: 0-23"),
        ("* * 0 * *", "day of month is '0'; legal: 1-31"),
        ("* * L * *", "day of month is 'L'; legal: 1-31"),
        ("* * * 13 *", "month is '13'; legal: 1-12 or JAN-DEC"),
        ("* * * * 7", "day of week is '7'; legal: 0-6 or SUN-SAT"),
        ("* * * * 5-7", "day of week is '5-7'; legal: 0-6 or SUN-SAT"),
        ("* * * * MON#1", "day of week is 'MON#1'"),
        ("*/0 * * * *", r"minute is '\*/0'"),
        ("0 0 * * * *", "6 fields; legal: 5"),
        ("@daily", "1 fields; legal: 5"),
        ("", "0 fields; legal: 5"),
        ("0 0 30 2 *", "never due"),
        ("0 0 30 FEB MON", None),
    ],
)
def test_a_time_that_kubernetes_refuses_or_that_never_comes_is_refused(cron: str, message: str | None):
    if message is None:
        next_time(cron)
        return
    with pytest.raises(BadInputError, match=message):
        next_time(cron)


@pytest.mark.parametrize("cron", ["0 3 * * 0", "*/15 8-17 * * mon-fri", "0 0 1 jan,jul *", "5/17 * * * */2"])
def test_a_legal_time_is_due_in_the_future(cron: str):
    assert next_time(cron) > datetime.now(UTC)


def test_all_wrong_fields_are_named_at_once():
    with pytest.raises(BadInputError) as error:
        next_time("61 25 * * *")
    assert len(str(error.value).splitlines()) == 2


def test_the_example_in_infra_is_what_the_verb_prints():
    path = ROOT / "pipelines/recipes/vit-cifar10.yaml"
    made = schedule(
        path, ("data.path=shards/cifar10",), "0 3 * * 0", name=None, namespace="zoo", image=None, queue="zoo"
    )
    example = (ROOT / "infra/k8s/example/vit-cifar10.yaml").read_text()
    assert list(yaml.safe_load_all(example)) == made.manifests


def test_the_verb_answers_programs_writes_files_and_never_loads_ray(tmp_path: Path):
    path, out = recipe_file(tmp_path, (2, 1, 0)), tmp_path / "schedule.json"
    words = ["zoo", "schedule", str(path), "--cron", "0 3 * * 0", "--json", "--out", str(out)]
    code = f"import sys; sys.argv = {words!r}\nfrom pipelines.cli import app\napp(standalone_mode=False)\n"
    code += "assert not {'ray', 'mlflow', 'deepspeed'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    answer = json.loads(out.read_text())
    assert done.stdout == ""
    assert answer["pods"] == [{"count": 2, "least": 2, "cpus": 1, "gpus": 0, "memory_gib": 4, "custom": {}}]
    assert [one["kind"] for one in answer["manifests"]] == ["ConfigMap", "CronJob"]
