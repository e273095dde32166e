"""The promises of `infra.manifests`: what is printed is what Kubernetes takes, runs never overlap, nothing secret."""

from dataclasses import replace
from typing import Any

import pytest
from manifest_check import Manifest, check, parse, pods

from infra.manifests import Run, check_name, ray_job, render, scheduled
from infra.pods import Pods
from zoo.errors import BadInputError

SMALL = Run(
    name="digits",
    namespace="zoo",
    image="learngene-zoo:cpu",
    command=("zoo", "run", "/etc/zoo/recipe.yaml"),
    files={"recipe.yaml": "name: digits\nfamily: vit\n"},
    groups=(Pods(count=1, cpus=4, gpus=0),),
    ray_version="2.60.0",
)
LARGE = replace(SMALL, name="large", groups=(Pods(count=3, cpus=8, gpus=1), Pods(count=2, cpus=2, gpus=0)))


def printed(run: Run) -> dict[str, Manifest]:
    """The manifests by kind, read back from what is printed."""
    return {one["kind"]: one for one in parse(render(scheduled(run, "0 3 * * 0")))}


def job_of(run: Run) -> dict[str, Any]:
    return printed(run)["CronJob"]["spec"]["jobTemplate"]


@pytest.mark.parametrize("run", [SMALL, LARGE, replace(SMALL, queue="q"), replace(LARGE, queue="q")])
def test_what_is_printed_has_only_known_fields(run: Run):
    for manifest in printed(run).values():
        check(manifest)


@pytest.mark.parametrize("run", [SMALL, LARGE])
def test_a_run_never_begins_beside_the_one_before(run: Run):
    assert printed(run)["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"


def test_files_come_out_as_they_went_in():
    assert printed(SMALL)["ConfigMap"]["data"] == SMALL.files


def test_a_run_that_fits_one_pod_is_that_pod():
    (pod,) = pods(job_of(SMALL))
    (container,) = pod["containers"]
    assert "RayJob" not in printed(SMALL)
    assert container["command"] == list(SMALL.command)
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi"}


def test_a_larger_run_is_a_cluster_with_a_group_for_every_size_of_pod():
    spec = printed(LARGE)["RayJob"]["spec"]
    groups = spec["rayClusterSpec"]["workerGroupSpecs"]
    limits = [next(pods(group))["containers"][0]["resources"]["limits"] for group in groups]
    assert spec["entrypoint"] == "zoo run /etc/zoo/recipe.yaml"
    assert [group["replicas"] for group in groups] == [3, 2]
    assert limits == [{"cpu": "8", "memory": "48Gi", "nvidia.com/gpu": "1"}, {"cpu": "2", "memory": "8Gi"}]


def test_the_head_of_a_cluster_takes_no_work():
    head = printed(LARGE)["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_words_of_a_command_survive_the_shell():
    run = replace(LARGE, command=("zoo", "run", "a b.yaml", "--set", "data.path=$HOME/x; rm y"))
    assert ray_job(run)["spec"]["entrypoint"] == "zoo run 'a b.yaml' --set 'data.path=$HOME/x; rm y'"


def test_a_launcher_removes_only_what_has_ended_and_ends_as_the_run_did():
    (pod,) = pods(job_of(LARGE))
    steps = {step["name"]: step["args"] for step in pod["initContainers"] + pod["containers"]}
    assert list(steps) == ["clear", "create", "wait", "mark", "succeeded"]
    mark = steps["mark"][2]
    assert steps["clear"][-1] == f"--selector=app.kubernetes.io/instance=large,{mark}"
    assert mark not in str(printed(LARGE)["RayJob"])
    assert "SUCCEEDED" in steps["succeeded"][-2]


def test_a_mistake_is_not_tried_again_and_a_lost_node_does_not_count():
    small, large = (job_of(run)["spec"]["podFailurePolicy"]["rules"] for run in (SMALL, LARGE))
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]} in small
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]} in large
    assert [2, 4, 5] in [rule.get("onExitCodes", {}).get("values") for rule in small]


def test_the_queue_admits_what_needs_the_resources():
    label = "kueue.x-k8s.io/queue-name"
    small, large = (replace(run, queue="gpus") for run in (SMALL, LARGE))
    assert job_of(small)["metadata"]["labels"][label] == "gpus"
    assert printed(large)["RayJob"]["metadata"]["labels"][label] == "gpus"
    assert label not in job_of(large)["metadata"]["labels"]
    assert label not in str(printed(SMALL)) + str(printed(LARGE))


@pytest.mark.parametrize("run", [SMALL, LARGE])
def test_secrets_are_references(run: Run):
    for manifest in printed(run).values():
        for pod in pods(manifest):
            for container in pod["containers"]:
                assert "env" not in container
                assert all(source.keys() <= {"configMapRef", "secretRef"} for source in container.get("envFrom", []))


def test_pods_hold_as_many_workers_as_fit():
    assert Pods(count=2, cpus=8, gpus=1).room(cpus=3, gpus=0) == 4
    assert Pods(count=2, cpus=8, gpus=1).room(cpus=3, gpus=1) == 2
    assert Pods(count=2, cpus=8, gpus=0).room(cpus=1, gpus=1) == 0


@pytest.mark.parametrize("name", ["", "A", "a_b", "a.b", "-a", "a-", "a" * 48, "é"])
def test_a_name_that_kubernetes_refuses_is_refused_with_what_is_legal(name: str):
    with pytest.raises(BadInputError, match=r"name: .* legal: up to 47 of a-z, 0-9 and '-'"):
        check_name("name", name, 47)


def test_a_name_that_kubernetes_takes_is_taken():
    check_name("name", "vit-cifar10", 47)
