"""The promises of `infra/docker`: the image is built from locked versions, compose starts nothing without secrets."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from manifest_check import ROOT

from pipelines.artifacts.lease import TTL

DOCKER = ROOT / "infra/docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
FILES = ("compose.yaml", "compose.gpu.yaml")


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """With anchors and merges resolved: what the tool sees, and what the checker takes."""
    return yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))


def check(content: dict[str, Any]) -> None:
    """Put defaults and secrets in, as compose does before it looks at the fields."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", json.dumps(content))
    PyCompose.from_yaml(re.sub(r"\$\{\w+:\?[^}]*\}", "given", text))


def lint(dockerfile: str) -> tuple[int, str]:
    command = [Path(sys.executable).with_name("hadolint"), "--no-color", "-"]
    done = subprocess.run(command, input=dockerfile, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_dockerfile_has_no_complaint():
    assert lint(DOCKERFILE) == (0, "")


def test_a_mistake_in_the_dockerfile_is_found():
    assert lint(DOCKERFILE.replace("WORKDIR /zoo", "WORKDIRR /zoo"))[0] == 1


def test_every_installation_is_bound_to_the_locks_and_names_no_index():
    commands = re.findall(r"(?:uv )?pip install (?:[^\n\\]|\\\n)+", DOCKERFILE)
    assert len(commands) == 5
    for command in commands:
        assert "--constraint requirements.lock" in command or "--require-hashes" in command or "--no-deps" in command
    assert not re.search(r"https?://|--(extra-)?index", DOCKERFILE)


def test_the_image_has_both_variants_and_is_not_root():
    assert {"build-cpu", "build-cuda"} <= set(re.findall(r"AS ([\w-]+)", DOCKERFILE))
    assert "FROM build-${VARIANT}" in DOCKERFILE
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["1000:1000"]


def test_the_image_is_built_from_the_packages_and_nothing_else():
    rules = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert kept - {"LICENSE", "README.md", "pyproject.toml", "requirements.lock", "requirements.uv.lock"} == set(
        packages["packages"]
    )


@pytest.mark.parametrize("name", FILES)
def test_compose_files_have_only_known_fields_of_the_right_type(name: str):
    check(compose(name))


@pytest.mark.parametrize(
    ("service", "field", "value"),
    [
        ("worker", "deploy", {"replicas": "two"}),
        ("worker", "shmsize", "2gb"),
        ("head", "depends_on", {"registry": {"condition": "healthy"}}),
        ("registry", "healthcheck", {"test": ["CMD", "true"], "intervall": "5s"}),
    ],
)
def test_a_wrong_field_or_type_in_compose_is_refused(service: str, field: str, value: Any):
    content = compose()
    content["services"][service][field] = value
    with pytest.raises(ValueError, match=f"services.{service}"):
        check(content)


def test_what_services_refer_to_is_declared():
    content = compose()
    for service in content["services"].values():
        assert set(service["networks"]) <= content["networks"].keys()
        assert service.get("depends_on", {}).keys() <= content["services"].keys()
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        for volume in named:
            assert volume in content["volumes"] or (DOCKER / volume).is_file()


def test_compose_takes_every_secret_from_outside_and_refuses_to_start_without():
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    variables = [pair for service in compose()["services"].values() for pair in service.get("environment", {}).items()]
    secrets = [(name, value) for name, value in variables if secret.search(name)]
    assert len(secrets) >= 10
    for name, value in secrets:
        assert re.fullmatch(r"\$\{\w+:\?in \.env\}", value), name


def test_ray_asks_for_a_token_and_nothing_is_published_beyond_loopback():
    services = compose()["services"]
    for name in ("head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "--app-name=basic-auth" in services["registry"]["command"]


def test_kubernetes_and_compose_find_a_lost_node_before_its_leases_end():
    settings = yaml.safe_load((ROOT / "infra/k8s/settings.yaml").read_text())["data"]
    for variables in (settings, compose()["services"]["head"]["environment"]):
        period, timeout, misses = (
            int(variables[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold")
        )
        assert misses * (period + timeout) <= TTL * 1000


def test_kubernetes_and_compose_give_mlflow_the_same_users():
    (config,) = [
        one["data"]["auth.ini"]
        for one in yaml.safe_load_all((ROOT / "infra/k8s/registry.yaml").read_text())
        if one["kind"] == "ConfigMap"
    ]
    assert config in (DOCKER / "auth.ini").read_text()
