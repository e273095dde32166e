"""`import zoo`: light, complete, and one call from a learngene to a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from zoo_samples import images, learngene, noise, resnet, vit

import zoo
from zoo.checkpoint import Checkpoint, save_checkpoint
from zoo.methods.bot import BoT
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker

SOURCE = vit(depth=3, width=8, heads=2, mlp=16)


def loaded_by(code: str) -> list[str]:
    """The heavy packages that a fresh interpreter holds after `code`."""
    heavy = ["ray", "mlflow", "deepspeed", "webdataset", "torch", "timm", "pydantic"]
    check = f"import json, sys; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_importing_the_zoo_loads_nothing_heavy() -> None:
    assert loaded_by("import zoo") == []


def test_the_whole_core_knows_no_other_room() -> None:
    """Not even when every public name is used: only PyTorch and pydantic are there."""
    assert loaded_by("import zoo; [getattr(zoo, name) for name in zoo.__all__]") == ["torch", "pydantic"]


def test_every_public_name_resolves_and_no_other_does() -> None:
    assert all(getattr(zoo, name).__name__ == name for name in zoo.__all__ if name != "FAMILIES")
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'lode'"):
        _ = zoo.lode


@pytest.mark.parametrize("method", [Front(), Kronecker(tile=4, templates=2)], ids=lambda method: method.name)
def test_load_gives_a_ready_model(method: Front | Kronecker, tmp_path: Path) -> None:
    gene = learngene(method, SOURCE)
    gene.save(tmp_path / "gene")
    model = zoo.load(str(tmp_path / "gene"), depth=4, width=12)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    want = gene.expand(zoo.Size(depth=4, width=12, heads=3, mlp=24))
    state = model.state_dict()
    assert set(state) == set(want)
    assert all(torch.equal(state[name], want[name]) for name in want)
    assert model(images(SOURCE)).shape == (2, 3)


def test_load_takes_heads_and_mlp(tmp_path: Path) -> None:
    learngene(Front(), SOURCE).save(tmp_path / "gene")
    model = zoo.load(str(tmp_path / "gene"), depth=1, width=9, heads=3, mlp=10)
    assert model.get_parameter("blocks.0.mlp.fc1.weight").shape == (10, 9)


def test_an_mlp_width_is_refused_where_the_family_has_none() -> None:
    gene = learngene(BoT(), resnet())
    with pytest.raises(zoo.BadInputError, match=r"size\.mlp: 7, but family 'resnet' has no MLP width; leave it out"):
        gene.size(depth=8, width=16, mlp=7)
    with pytest.raises(zoo.BadInputError, match=r"size\.mlp: 7, but"):
        zoo.instantiate(gene, zoo.Size(depth=8, width=16, mlp=7))
    assert zoo.instantiate(gene, gene.size(depth=8, width=16)).arch.size.mlp == 64


def test_load_names_the_nearest_legal_sizes(tmp_path: Path) -> None:
    learngene(Kronecker(tile=4, templates=2), SOURCE).save(tmp_path / "gene")
    with pytest.raises(zoo.BadInputError, match=r"width: 14 .* legal values nearby: 12, 16"):
        zoo.load(str(tmp_path / "gene"), depth=4, width=14)


def test_what_is_not_there_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(zoo.NotFoundError, match="nowhere: no learngene here"):
        zoo.load(str(tmp_path / "nowhere"), depth=1, width=8)
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(zoo.NotFoundError, match="empty: no learngene here"):
        zoo.load("empty", depth=1, width=8)


def test_a_checkpoint_is_not_a_learngene(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ready", Checkpoint(SOURCE, SOURCE.build().state_dict()), origin="A test.")
    with pytest.raises(zoo.NotFoundError, match="ready: no learngene here"):
        zoo.load(str(tmp_path / "ready"), depth=1, width=8)


def test_a_name_without_a_registry_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.api.entry_points", lambda group: [])
    with pytest.raises(zoo.NotFoundError, match=r"vit@champion: no registry is installed.*learngene-zoo\[registry\]"):
        zoo.load("vit@champion", depth=1, width=8)


@pytest.mark.parametrize("method", [Front(), BoT()], ids=lambda method: method.name)
def test_training_the_ancestor_on_leaves_its_learngene_alone(method: Front | BoT) -> None:
    weights = noise(SOURCE)
    gene = zoo.condense(Checkpoint(SOURCE, weights), method)
    before = {name: tensor.clone() for name, tensor in gene.tensors.items()}
    for tensor in weights.values():
        tensor.add_(1)
    assert [name for name, tensor in gene.tensors.items() if not torch.equal(tensor, before[name])] == []


def test_weights_that_are_no_numbers_are_not_condensed() -> None:
    weights = noise(SOURCE)
    weights["blocks.1.norm2.bias"][3] = float("nan")
    with pytest.raises(zoo.IntegrityError, match=r"tensor 'blocks.1.norm2.bias' holds NaN or infinity"):
        zoo.condense(Checkpoint(SOURCE, weights), Front())
