"""The promises of `infra/k8s`: every manifest is what Kubernetes takes, least rights, no secret inside."""

import copy
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from manifest_check import REFUSALS, ROOT, Manifest, check, load, pods
from typer.main import get_command

from pipelines.cli import app

K8S = ROOT / "infra/k8s"
FILES = sorted(K8S.rglob("*.yaml"))
INSTALLED = {path.name for path in K8S.glob("*.yaml")} - {"kustomization.yaml"}


def documents() -> list[Manifest]:
    return list(chain.from_iterable(load(path) for path in FILES))


def named(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in documents() if one["kind"] == kind}


def named_kinds() -> set[str]:
    return {one["kind"] for one in documents()}


def changed(path: str, place: str, value: Any) -> Manifest:
    """The manifest of a kind in a file, with another value at a place; a new field where there was none."""
    kind, *parents, last = place.split(".")
    manifest = copy.deepcopy(next(one for one in load(K8S / path) if one["kind"] == kind))
    at: Any = manifest
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[last] = value
    return manifest


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_every_manifest_has_only_known_fields_of_the_right_type(path: Path):
    for manifest in load(path):
        check(manifest)


@pytest.mark.parametrize(
    ("path", "place", "value"),
    [
        ("raycluster.yaml", "RayCluster.spec.rayversion", "2.60.0"),
        ("raycluster.yaml", "RayCluster.spec.authOptions.mode", "tokens"),
        ("raycluster.yaml", "RayCluster.spec.headGroupSpec.rayStartParams.num-cpus", 0),
        ("raycluster.yaml", "RayCluster.spec.workerGroupSpecs.0.replicas", "2"),
        ("raycluster.yaml", "RayCluster.spec.headGroupSpec.template.spec.serviceAccount_name", "a"),
        ("raycluster.yaml", "RayCluster.spec.headGroupSpec.template.spec.containers.0.image", 1),
        ("example/vit-cifar10.yaml", "RayJob.spec.submissionMode", "HttpMode"),
        ("example/vit-cifar10.yaml", "RayJob.spec.metadata", {"learngene-zoo": 1}),
        ("example/vit-cifar10.yaml", "RayJob.spec.rayClusterSpec.headgroup", {}),
        ("example/vit-cifar10.yaml", "CronJob.spec.concurencyPolicy", "Forbid"),
        ("example/vit-cifar10.yaml", "CronJob.spec.suspend", "no"),
        ("example/vit-cifar10.yaml", "ConfigMap.data.steps", 200),
        ("registry.yaml", "Deployment.spec.template.spec.containers.0.readinesProbe", {}),
        ("registry.yaml", "Service.spec.ports.0.port", "5000"),
        ("network.yaml", "NetworkPolicy.spec.egres", []),
        ("accounts.yaml", "Role.rules.0.verb", ["get"]),
        ("accounts.yaml", "ServiceAccount.automountServiceAccountToken", "false"),
        ("storage.yaml", "PersistentVolumeClaim.spec.accessMode", "ReadWriteMany"),
        ("monitoring/podmonitor.yaml", "PodMonitor.spec.podMetricsEndpoints.0.interval", 30),
        ("kueue/queues.yaml", "LocalQueue.spec.clusterqueue", "zoo"),
        ("kueue/queues.yaml", "ClusterQueue.apiVersion", "kueue.x-k8s.io/v1beta1"),
        ("kustomization.yaml", "Kustomization.ressources", []),
        ("namespace.yaml", "Namespace.kind", "Namspace"),
    ],
)
def test_a_wrong_field_or_type_is_refused(path: str, place: str, value: Any):
    with pytest.raises(REFUSALS):
        check(changed(path, place, value))


def test_kustomize_installs_every_file():
    assert set(load(K8S / "kustomization.yaml")[0]["resources"]) == INSTALLED


def test_every_pod_keeps_the_restricted_standard_of_its_namespace():
    found = list(chain.from_iterable(pods(one) for one in documents()))
    assert len(found) >= 7
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_every_container_says_what_it_needs():
    for pod in chain.from_iterable(pods(one) for one in documents()):
        for container in pod["containers"] + pod.get("initContainers", []):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_what_pods_refer_to_is_installed():
    for pod in chain.from_iterable(pods(one) for one in documents()):
        assert pod["serviceAccountName"] in named("ServiceAccount")
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in named("ConfigMap")
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in named("PersistentVolumeClaim")
        for source in chain.from_iterable(container.get("envFrom", []) for container in pod["containers"]):
            if "configMapRef" in source:
                assert source["configMapRef"]["name"] in named("ConfigMap")


def test_no_secret_is_written_down():
    secret = re.compile("PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)
    assert "Secret" not in named_kinds()
    for one in documents():
        assert not any(secret.search(key) for key in (one.get("data") or {}))
        for container in chain.from_iterable(pod["containers"] for pod in pods(one)):
            for variable in container.get("env", []):
                assert "valueFrom" in variable or not secret.search(variable["name"])


def test_the_guide_makes_every_secret_that_pods_refer_to():
    pod_specs = chain.from_iterable(pods(one) for one in documents())
    containers = chain.from_iterable(pod["containers"] for pod in pod_specs)
    sources = chain.from_iterable(container.get("envFrom", []) for container in containers)
    wanted = {source["secretRef"]["name"] for source in sources if "secretRef" in source}
    guide = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    assert wanted == set(re.findall(r"create secret generic ([\w-]+)", guide))


def test_only_launchers_have_rights_and_only_over_ray_jobs():
    bound = [subject["name"] for one in documents() if one["kind"] == "RoleBinding" for subject in one["subjects"]]
    rules = [rule for one in documents() if one["kind"] == "Role" for rule in one["rules"]]
    assert bound == ["zoo-scheduler"]
    assert [(rule["apiGroups"], rule["resources"]) for rule in rules] == [(["ray.io"], ["rayjobs"])]
    assert not {"ClusterRole", "ClusterRoleBinding"} & named_kinds()
    for pod in chain.from_iterable(pods(one) for one in documents()):
        if pod["serviceAccountName"] != "zoo-scheduler":
            assert pod["automountServiceAccountToken"] is False


def test_every_ray_cluster_asks_for_a_token_and_runs_the_locked_ray():
    locked = re.search(r"^ray==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    clusters = [one["spec"] for one in documents() if one["kind"] == "RayCluster"]
    clusters += [one["spec"]["rayClusterSpec"] for one in documents() if one["kind"] == "RayJob"]
    assert locked
    assert len(clusters) == 2
    for cluster in clusters:
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["rayVersion"] == locked[1]


def test_a_standing_cluster_and_scheduled_runs_share_one_home_and_no_cache():
    home = load(K8S / "settings.yaml")[0]["data"]["ZOO_HOME"]
    found = [pod for one in documents() for pod in pods(one) if pod["serviceAccountName"] == "zoo-runner"]
    assert len(found) == 5
    for pod in found:
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume.pop("name"): volume for volume in copy.deepcopy(pod["volumes"])}
        assert {"configMapRef": {"name": "zoo-settings"}} in container["envFrom"]
        assert container["workingDir"] == home
        assert volumes[mounts[home]] == {"persistentVolumeClaim": {"claimName": "zoo-home"}}
        assert volumes[mounts[f"{home}/cache"]] == {"emptyDir": {}}


def test_traffic_is_denied_unless_a_policy_allows_it():
    policies = {one["metadata"]["name"]: one["spec"] for one in documents() if one["kind"] == "NetworkPolicy"}
    assert policies["zoo-default"]["podSelector"] == {}
    assert set(policies["zoo-default"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policies["zoo-default"]
    assert all("from" in rule for policy in policies.values() for rule in policy.get("ingress", []))


@pytest.mark.parametrize("name", ["deploy.md", "operations.md", "scale.md"])
def test_guides_name_only_files_verbs_and_options_that_exist(name: str):
    guide = (ROOT / "docs" / name).read_text(encoding="utf-8")
    rooms = "infra|pipelines|benchmarks|zoo|trainers|registry"
    paths = re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w./-]*\w", guide)
    verbs = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for verb, rest in re.findall(r"(?<!-n )(?<!/)\bzoo (\w+)([^|`>\n]*)", guide):
        known = {option for parameter in verbs[verb].params for option in parameter.opts}
        if verb != "data":  # its verbs have options of their own
            assert set(re.findall(r"--[a-z-]+", rest)) <= known
