"""Checks a Kubernetes manifest offline: by Kubernetes' own schemas, or by the trimmed ones of `schemas/`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from kubernetes_validate.utils import ValidationError as KubernetesError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

KUBERNETES = "1.37"
ROOT = Path(__file__).parents[2]
SCHEMAS = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "schemas").glob("*.yaml")}
_FILES: Registry[Any] = Registry().with_resources(
    (f"{name}.yaml", Resource(contents=schema, specification=DRAFT202012)) for name, schema in SCHEMAS.items()
)

Manifest = dict[str, Any]
REFUSALS = (ValidationError, KubernetesError, kubernetes_validate.SchemaNotFoundError)


def check(manifest: Manifest) -> None:
    """Raise one of `REFUSALS` unless every field is known and of its type."""
    schema = SCHEMAS.get(manifest["kind"].lower())
    if schema is None:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    _Validator(schema, registry=_FILES).validate(manifest)
    _check_template({"metadata": manifest.get("metadata", {}), "spec": None})


def load(path: Path) -> list[Manifest]:
    """The manifests of a file."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> list[Manifest]:
    """The manifests of a text, and those in files of its config maps."""
    found = list(yaml.safe_load_all(text))
    files = [file for one in found if one["kind"] == "ConfigMap" for file in one["data"].values()]
    inside = [yaml.safe_load(file) for file in files if isinstance(file, str) and file.startswith("apiVersion: ")]
    return found + inside


def pods(value: Any) -> Iterator[Manifest]:
    """The specs of all pods in a manifest, wherever they stand."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for item in value.values():
            yield from pods(item)
    elif isinstance(value, list):
        for item in value:
            yield from pods(item)


def _check_template(template: Manifest) -> None:
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "PodTemplate", "template": template}, KUBERNETES, strict=True
    )


def _is_pod(validator: Any, marked: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    try:
        _check_template(instance)
    except KubernetesError as error:
        yield ValidationError(error.message)


_Validator = extend(Draft202012Validator, {"pod": _is_pod})
