"""Ready models that are made to deceive, signed, verified where they lie, or made by others."""

import json
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.models.making import Making, keep, make_model
from registry.ready import find_ready, list_ready, pull_any, register_ready
from registry.register import register
from registry.server import connect
from registry.verify import verify_all, verify_refs
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.ready import READY, read_ready
from zoo.signatures import sign, signing_key

MakeLearngene = Callable[..., Path]
WEIGHTS = "model.safetensors"


@pytest.fixture
def model(learngene: MakeLearngene, ready_home: Path, tmp_path: Path) -> Path:
    """The folder of a ready model of the learngene `vit`."""
    register(learngene(), "vit", metrics={})
    make_model("vit", (2, 8, None, None), Making(), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private key; its public half is the only one that is trusted."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem"], check=True)
    public = ["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout", "-out", tmp_path / "public.pem"]
    subprocess.run(public, check=True)
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(tmp_path / "public.pem"))
    return tmp_path / "key.pem"


def change(folder: Path, **fields: Any) -> None:
    path = folder / READY
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


def cached(home: Path) -> list[Path]:
    return [path for path in (home / "cache" / "ready").iterdir() if path.suffix != ".lock"]


def test_a_description_cannot_raise_its_own_limits(model: Path, ready_home: Path) -> None:
    register_ready(model, "vit.ready")
    change(model, parameters=2**42)
    os.truncate(model / WEIGHTS, 2**43)  # sparse: copying it would take a day
    with pytest.raises(IntegrityError, match=r"description .* registered was"):
        pull_any("vit.ready")
    change(model, parameters=2**60)
    with pytest.raises(IntegrityError, match="parameters"):
        pull_any("vit.ready")
    assert cached(ready_home) == []


def test_weights_larger_than_the_parameters_explain_are_not_copied(model: Path, ready_home: Path) -> None:
    register_ready(model, "vit.ready")
    size = (model / WEIGHTS).stat().st_size
    for wrong, why in ((2**40, "bytes; at most"), (size + 4096, "not a whole safetensors file")):
        os.truncate(model / WEIGHTS, wrong)
        with pytest.raises(IntegrityError, match=why):
            pull_any("vit.ready")
    assert cached(ready_home) == []


def test_another_number_in_the_registry_is_refused(model: Path) -> None:
    register_ready(model, "vit.ready")
    with connect() as client:
        client.set_model_version_tag("vit.ready", "1", "learngene.parameters", "7")
    with pytest.raises(IntegrityError, match=r"vit\.ready:1: .*parameters .* registered was 7"):
        pull_any("vit.ready")


@pytest.mark.parametrize(
    "fields", [{"ref": "vit:9"}, {"scores": {"accuracy": 1.0}}, {"options": {}}, {"learngene": "a" * 64}]
)
def test_what_a_description_tells_cannot_be_changed_unnoticed(model: Path, fields: dict[str, Any]) -> None:
    register_ready(model, "vit.ready")
    copy = pull_any("vit.ready")
    expected = read_ready(copy)
    change(copy, **fields)
    assert read_ready(pull_any("vit.ready")) == expected  # fetched again
    change(copy, **fields)
    change(model, **fields)
    with pytest.raises(IntegrityError, match="registered was"):
        pull_any("vit.ready")


def test_the_same_files_with_another_history_stay_one_version(model: Path) -> None:
    first = keep(model, read_ready(model), "vit.ready", "edge")
    change(model, ref="vit:9")
    second = keep(model, read_ready(model), "vit.ready", "edge")
    assert (first.ref, second.ref, second.parent_ref) == ("vit.ready:1", "vit.ready:1", "vit:9")
    assert read_ready(first.folder).ref == "vit:1"
    assert read_ready(pull_any("vit.ready@edge")).ref == "vit:9"


@pytest.mark.parametrize("name", ["README.md", READY, "signature.json"])
def test_files_that_are_none_of_the_model_are_refused(model: Path, name: str) -> None:
    files = json.loads((model / READY).read_text(encoding="utf-8"))["files"]
    change(model, files=files | {name: "0" * 64})
    with pytest.raises(IntegrityError, match=f"field 'files': .*{name}"):
        register_ready(model, "vit.ready")


def test_only_what_a_trusted_key_signed_is_pulled(
    model: Path, key: Path, ready_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = register_ready(model, "vit.ready", "edge")
    sign(model, entry.digest, signing_key(key))  # as a learngene: it vouches for no ready model
    with pytest.raises(IntegrityError, match="another ready model"):
        pull_any("vit.ready@edge")
    assert cached(ready_home) == []
    with caplog.at_level(logging.WARNING):
        list_ready()
    assert "1 ready models are not signed by the keys of ZOO_TRUSTED_KEYS" in caplog.text
    assert CliRunner().invoke(app, ["sign", "vit.ready@edge", "--key", str(key)]).exit_code == 0
    caplog.clear()
    assert [row.state for row in verify_refs(["vit.ready@edge", str(pull_any("vit.ready@edge"))], _quiet)] == (
        ["holds"] * 2
    )
    list_ready()
    assert caplog.text == ""


def test_a_signature_covers_the_lineage(model: Path, key: Path) -> None:
    assert CliRunner().invoke(app, ["sign", str(model), "--key", str(key)]).exit_code == 0
    assert verify_refs([str(model)], _quiet)[0].state == "holds"
    change(model, ref="vit:9")
    assert verify_refs([str(model)], _quiet)[0].state == "unsigned"
    register_ready(model, "vit.ready")
    with pytest.raises(IntegrityError, match="signed by none of the trusted keys"):
        pull_any("vit.ready")


def test_ready_models_are_verified_where_they_lie(model: Path, ready_home: Path) -> None:
    register_ready(model, "vit.ready")
    for rows in (verify_refs(["vit.ready", str(model)], _quiet), verify_all(_quiet)):
        assert [row.state for row in rows] == ["holds"] * 2
    content = bytearray((model / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (model / WEIGHTS).write_bytes(content)
    rows = {row.what: row for row in (*verify_all(_quiet), *verify_refs([str(model)], _quiet))}
    assert {what: row.state for what, row in rows.items()} == {
        "vit:1": "holds",
        "vit.ready:1": "damaged",
        str(model): "damaged",
    }
    assert not (ready_home / "cache" / "ready").exists()


def test_a_ready_model_of_others_is_named_and_skipped(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    register_ready(model, "vit.ready")
    tags = {"learngene.kind": "ready", "learngene.digest": "../../precious"}
    with connect() as client:
        client.create_model_version("vit.ready", "learngene:/x", tags=tags, await_creation_for=0)
    with caplog.at_level(logging.WARNING):
        assert [entry.ref for entry in list_ready()] == ["vit.ready:1"]
    assert "not ready models: vit.ready:2" in caplog.text
    states = {row.what: row.state for row in verify_all(_quiet)}
    assert states == {"vit:1": "holds", "vit.ready:1": "holds", "vit.ready:2": "foreign"}
    with pytest.raises(IntegrityError, match=r"vit\.ready:2"):
        find_ready("vit.ready:2")


def test_an_address_that_is_no_folder_here_is_no_ready_model(model: Path) -> None:
    register_ready(model, "vit.ready")
    for uri, why in (("s3://bucket/etc", "is no folder that this machine"), ("file:///etc/passwd", "no ready model")):
        with connect() as client:
            client.set_model_version_tag("vit.ready", "1", "learngene.uri", uri)
        with pytest.raises((IntegrityError, NotFoundError), match=why):
            pull_any("vit.ready")


def test_a_recipe_that_registers_under_a_name_of_ready_models_does_not_start(model: Path) -> None:
    register_ready(model, "demo.front")
    recipe = Path(__file__).parents[2] / "pipelines" / "recipes" / "demo.yaml"
    result = CliRunner().invoke(app, ["run", str(recipe)])
    assert isinstance(result.exception, BadInputError)
    assert "'demo.front' is taken by ready models" in str(result.exception)


def _quiet(_done: int, _total: int) -> None:
    pass
