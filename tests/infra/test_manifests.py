"""The promises of `infra.manifests`: what is printed is what Kubernetes takes, runs never overlap, nothing secret."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from manifest_check import Manifest, check, parse, pods

from infra.manifests import Run, check_name, ray_job, render, scheduled
from infra.pods import Pods
from infra.resources import GIB, Resources
from zoo.errors import BadInputError, IntegrityError


def pods_of(count: int, cpus: int = 1, gpus: int = 0, least: int = 0, gib: int = 0, **custom: float) -> Pods:
    return Pods(count, Resources(cpus, gpus, gib * GIB or None, custom), least or count)


SMALL = Run(
    name="digits",
    namespace="zoo",
    image="learngene-zoo:cpu",
    command=("zoo", "run", "/etc/zoo/recipe.yaml"),
    files={"recipe.yaml": "name: digits\nfamily: vit\n"},
    groups=(pods_of(1, cpus=4),),
    ray_version="2.60.0",
)
LARGE = replace(SMALL, name="large", groups=(pods_of(3, cpus=8, gpus=1), pods_of(2, cpus=2)))
ELASTIC = replace(SMALL, name="elastic", groups=(pods_of(8, gpus=1, gib=20, least=2, A100=1),))


def printed(run: Run) -> dict[str, Manifest]:
    """The manifests by kind, read back from what is printed."""
    return {one["kind"]: one for one in parse(render(scheduled(run, "0 3 * * 0")))}


def job_of(run: Run) -> dict[str, Any]:
    return printed(run)["CronJob"]["spec"]["jobTemplate"]


@pytest.mark.parametrize("run", [SMALL, LARGE, ELASTIC, replace(SMALL, queue="q"), replace(LARGE, queue="q")])
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


def test_an_elastic_run_may_go_on_with_fewer_pods_and_nodes_have_what_stages_ask_for():
    (group,) = printed(ELASTIC)["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (2, 8, 8)
    assert shlex.split(group["rayStartParams"]["resources"]) == ['{"A100": 1}']


def test_groups_of_a_cluster_have_names_of_their_own():
    run = replace(LARGE, groups=(pods_of(2, A100=1), pods_of(2, spot=1), pods_of(2, gib=64)))
    groups = printed(run)["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert len({group["groupName"] for group in groups}) == 3


def test_one_pod_that_needs_what_only_nodes_of_a_cluster_have_is_a_cluster():
    assert "RayJob" in printed(replace(SMALL, groups=(pods_of(1, A100=1),)))


def test_zoo_status_knows_the_job_of_a_schedule():
    assert printed(LARGE)["RayJob"]["spec"]["metadata"] == {"learngene-zoo": "large"}


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
    (final,) = [rule["onExitCodes"]["values"] for rule in small if rule["action"] == "FailJob"]
    assert BadInputError.exit_code in final
    assert IntegrityError.exit_code not in final  # the disk was full; it may not be when it is tried again


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


@pytest.mark.parametrize(
    ("pods", "other"),
    [
        (pods_of(2, cpus=8), pods_of(4, cpus=3)),
        (pods_of(2, cpus=8, gpus=1), pods_of(2, cpus=3, gpus=1)),
        (pods_of(2, cpus=8, gib=8), pods_of(2, gib=8)),
        (pods_of(2, A100=2), pods_of(2, A100=1)),
    ],
)
def test_pods_take_as_many_other_workers_as_fit_and_no_more(pods: Pods, other: Pods):
    assert pods.joined(other) == pods
    assert pods.joined(replace(other, count=2 * pods.count * 8)) is None


@pytest.mark.parametrize(
    "other", [pods_of(1, gpus=1), pods_of(1, cpus=9), pods_of(1, gib=40), pods_of(1, spot=1), pods_of(3, cpus=8)]
)
def test_what_does_not_fit_needs_pods_of_its_own(other: Pods):
    assert pods_of(2, cpus=8).joined(other) is None


def test_workers_without_a_word_about_memory_are_not_put_where_there_is_little():
    assert pods_of(1, cpus=8, gib=4).joined(pods_of(1, cpus=8)) is None


def test_pods_keep_what_the_least_elastic_of_their_stages_needs():
    together = pods_of(8, cpus=2, least=2).joined(pods_of(6, cpus=1, least=6))
    assert together == pods_of(8, cpus=2, least=3)


def test_a_pod_has_the_memory_that_its_worker_asks_for_and_more_for_ray():
    assert pods_of(1, cpus=4).gib == 16
    assert 64 < pods_of(1, cpus=4, gib=64).gib < 70


@pytest.mark.parametrize("name", ["", "A", "a_b", "a.b", "-a", "a-", "a" * 48, "é"])
def test_a_name_that_kubernetes_refuses_is_refused_with_what_is_legal(name: str):
    with pytest.raises(BadInputError, match=r"name: .* legal: up to 47 of a-z, 0-9 and '-'"):
        check_name("name", name, 47)


def test_a_name_that_kubernetes_takes_is_taken():
    check_name("name", "vit-cifar10", 47)
