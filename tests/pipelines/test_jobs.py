"""Recipes as Ray jobs, on a real cluster behind a token whose head has no CPUs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml
from token_cluster import BIN, DEADLINE, TokenCluster, free_port, token_cluster

from infra.jobs import Jobs, RayJob, check_url
from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import stage_keys
from pipelines.run.events import Told
from pipelines.run.jobs import interpret, refuse_relative, resolved, status
from zoo.errors import BadInputError

RECIPE = """\
name: job
family: vit
config: {img_size: 8, patch_size: 4, in_chans: 1, num_classes: 10}
data: {kind: digits, limit: 128, validation: 0.25}
stages:
  ancestor:
    run: pretrain
    size: {depth: 2, width: 32, heads: 2, mlp: 64}
    train: {steps: 20, batch: 32, clip: null}
    resources: {checkpoint_every: 5}
  front:
    run: condense
    weights: {stage: ancestor}
register:
  job.front: {stage: front}
"""


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# Without a cluster.


def test_what_travels_has_the_same_keys_as_the_file_with_its_overrides(tmp_path: Path) -> None:
    loaded = load_recipe(recipe_file(tmp_path), ("stages.ancestor.train.lr=0.5",))
    other = tmp_path / "travelled.yaml"
    other.write_text(resolved(loaded), encoding="utf-8")
    travelled = load_recipe(other)
    assert travelled == loaded
    assert stage_keys(travelled) == stage_keys(loaded)
    assert travelled.stages["ancestor"].model_dump()["train"]["clip"] is None


def test_relative_paths_are_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "ancestor").mkdir()
    content = yaml.safe_load(RECIPE)
    content["data"] = {"kind": "webdataset", "path": "shards", "image_size": 8, "classes": 10}
    content["config"]["in_chans"] = 3
    for path, wrong in (("shards", True), ("/data/shards", False), ("s3://bucket/shards", False)):
        content["data"]["path"] = path
        loaded = load_recipe(recipe_file(tmp_path, yaml.safe_dump(content)))
        if wrong:
            with pytest.raises(BadInputError, match=r"data\.path: 'shards' is relative"):
                refuse_relative(loaded)
        else:
            refuse_relative(loaded)


STAGE = '{"event": "stage", "name": "a", "run": "pretrain", "key": "k", "state": "%s", "step": 3, "total": 9}'
END = '{"event": "end", "state": "%s", "exit_code": 0, "error": ""}'


@pytest.mark.parametrize(
    ("ray", "lines", "state", "stage"),
    [
        ("RUNNING", [STAGE % "running"], "running", "running"),
        ("FAILED", [STAGE % "done", END % "done"], "done", "done"),  # Ray lost sight of its process
        ("FAILED", [STAGE % "running"], "failed", "stopped"),
        ("SUCCEEDED", [STAGE % "running"], "failed", "stopped"),
        ("STOPPED", [STAGE % "running", END % "cancelled"], "cancelled", "stopped"),
        ("STOPPED", [STAGE % "running", '{"event": "sta'], "cancelled", "stopped"),
        ("RUNNING", [STAGE % "done", END % "failed"], "failed", "done"),
        ("RUNNING", [STAGE % "running", '{"event": "login", "user": "somebody else"}'], "running", "running"),
    ],
)
def test_the_last_word_of_a_job_counts_more_than_what_ray_says(
    ray: str, lines: list[str], state: str, stage: str
) -> None:
    job = RayJob("job-1", "job", ray, "a message", datetime.now(UTC), None)
    found = interpret(job, Told.of(["some other line", *lines]))
    assert (found.state, found.stages[0].state) == (state, stage)


@pytest.mark.parametrize("address", ["http://", "ftp://host:1", "http://user@host:1", "http://host:99999", "host:1"])
def test_what_is_no_job_server_is_bad_input(address: str) -> None:
    with pytest.raises(BadInputError, match="legal: http://HOST:8265"):
        check_url(address)


# On a cluster.


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenCluster]:
    with token_cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        yield cluster


Zoo = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def zoo(cluster: TokenCluster) -> Zoo:
    def zoo(*words: str | Path, address: str = cluster.address, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "zoo"), *map(str, words), "--address", address]
        return subprocess.run(command, env=cluster.client | variables, capture_output=True, text=True, check=False)

    return zoo


@pytest.fixture
def server(cluster: TokenCluster, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """To look often: `zoo` itself takes seconds to start."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, cluster.client[name])
    return Jobs(cluster.address)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_until(true: Callable[[], bool]) -> None:
    until = monotonic() + DEADLINE
    while not true():
        assert monotonic() < until
        sleep(0.2)


@pytest.mark.slow
def test_a_job_runs_on_without_its_client_to_the_end_and_a_second_one_takes_its_results(
    cluster: TokenCluster, zoo: Zoo, server: Jobs, tmp_path: Path
) -> None:
    path = recipe_file(tmp_path)
    first = answer(zoo("run", path, "--set", "stages.ancestor.train.steps=30", "--detach", "--json"))["job"]
    second = answer(zoo("run", path, "--set", "stages.ancestor.train.steps=30", "--json"))
    wait_until(lambda: status(server, first).state != "running")
    jobs = {job["job"]: job for job in answer(zoo("status", "--json"))}
    assert set(jobs) == {first, second["job"]}
    for job in jobs.values():
        assert (job["state"], job["recipe"], job["exit_code"]) == ("done", "job", 0), job
        assert {row["name"]: row["state"] in ("done", "cached") for row in job["stages"]} == dict.fromkeys(
            ("ancestor", "front"), True
        )
        assert [(entry["name"], entry["version"]) for entry in job["entries"]] == [("job.front", 1)]
    assert len(list((cluster.home / "store/stages").iterdir())) == 2
    assert not Path(cluster.client["ZOO_HOME"]).exists()
    log = zoo("logs", first, "-f").stdout
    assert "front: done" in log
    assert cluster.token not in log
    events = [json.loads(line)["event"] for line in zoo("logs", first, "--json").stdout.splitlines()]
    assert {"stage", "text", "end"} >= set(events) >= {"stage", "end"}
    again = zoo("cancel", first, "--json")  # it has ended already
    assert answer(again)["state"] == "done"


@pytest.mark.slow
def test_a_cancelled_job_is_cancelled_twice_and_the_next_one_resumes(
    cluster: TokenCluster, zoo: Zoo, server: Jobs, tmp_path: Path
) -> None:
    path = recipe_file(tmp_path)
    job = answer(zoo("run", path, "--set", "stages.ancestor.train.steps=100000", "--detach", "--json"))["job"]

    wait_until(lambda: any(row.step > 0 for row in status(server, job).stages))
    assert answer(zoo("status", job, "--json"))["stages"][0]["state"] == "running"
    for _ in range(2):
        cancelled = answer(zoo("cancel", job, "--json"))
        assert (cancelled["state"], cancelled["exit_code"]) == ("cancelled", 130)
        assert cancelled["stages"][0]["state"] == "stopped"
    assert not list((cluster.home / "store/leases").iterdir())
    other = answer(zoo("run", path, "--set", "stages.ancestor.train.steps=100000", "--detach", "--json"))["job"]
    wait_until(lambda: "ancestor: waiting" in zoo("logs", other).stdout)
    first = next(line for line in zoo("logs", other).stdout.splitlines() if line.startswith("ancestor: waiting"))
    assert int(first.split()[2].split("/")[0]) > 0  # it knows how far the first one was
    assert answer(zoo("cancel", other, "--json"))["state"] == "cancelled"


@pytest.mark.slow
def test_what_the_cluster_can_never_hold_is_said_before_anything_runs(zoo: Zoo, tmp_path: Path) -> None:
    sets = ("stages.ancestor.resources.custom={A100: 1}", "stages.ancestor.train.lr=0.7")
    done = zoo("run", recipe_file(tmp_path), *(word for text in sets for word in ("--set", text)), "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["state"] == "failed"
    assert "stages.ancestor.resources: 1 worker(s) of 1 CPU, A100: 1" in told["error"]
    assert {row["state"] for row in told["stages"]} == {"waiting"}


@pytest.mark.slow
def test_wrong_tokens_addresses_and_names_are_told_apart_within_seconds(zoo: Zoo) -> None:
    cases = {
        "refuses us": zoo("status", RAY_AUTH_TOKEN="0" * 64),
        "RAY_AUTH_MODE=token": zoo("status", RAY_AUTH_MODE="disabled"),
        "no job server": zoo("status", address=f"http://127.0.0.1:{free_port()}"),
        "there is none 'nope'": zoo("status", "nope"),
    }
    for text, done in cases.items():
        assert (done.returncode, text in done.stderr) == (3, True), done.stderr
    bad = zoo("run", "recipe.yaml", address="https://user@host")
    assert (bad.returncode, "no job server" in bad.stderr) == (2, True)
