"""A new use of a learngene inherits the body; the new head starts at random."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pico_families import outputs, pico, trained
from zoo_samples import images, learngene, noise, resnet, vit

import zoo
from zoo.api import condense, instantiate
from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.heads import change_head, with_head
from zoo.methods.front import Front
from zoo.size import Size

GENE = learngene(Front(), vit(depth=3))
SIZE = Size(depth=4, width=12, heads=3, mlp=20)
FIVE = {"num_classes": 5}
HEAD = {"head.weight", "head.bias"}


def test_the_body_is_inherited_and_the_head_is_new() -> None:
    checkpoint, plain = instantiate(GENE, SIZE, FIVE), instantiate(GENE, SIZE)
    assert checkpoint.arch == vit(4, 12, 3, 20, num_classes=5)
    assert {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()} == checkpoint.arch.shapes()
    assert all(torch.equal(checkpoint.weights[name], plain.weights[name]) for name in plain.weights.keys() - HEAD)
    assert checkpoint.model(images(checkpoint.arch)).shape == (2, 5)


def test_the_new_head_is_the_librarys_own_start() -> None:
    arch = vit(4, 12, 3, 20, num_classes=500)
    weights = instantiate(GENE, SIZE, {"num_classes": 500}).weights
    library = arch.build().state_dict()
    assert weights["head.weight"].std() == pytest.approx(library["head.weight"].std().item(), rel=0.1)
    assert torch.equal(weights["head.bias"], library["head.bias"])


def test_the_seed_alone_decides_on_the_head() -> None:
    before = torch.get_rng_state()
    first, again, other = (instantiate(GENE, SIZE, FIVE, seed=seed).weights["head.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_that_is_already_as_wanted_is_kept() -> None:
    weights = instantiate(GENE, SIZE, {"num_classes": 3}).weights
    assert all(torch.equal(weights[name], tensor) for name, tensor in instantiate(GENE, SIZE).weights.items())


def test_the_head_has_the_precision_of_the_body() -> None:
    arch = vit(num_classes=5)
    weights = with_head(arch, noise(vit(), dtype=torch.float64), seed=0)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float64}


LABELS = {"task": "classification", "num_labels": 5}


@pytest.mark.parametrize(
    ("source", "head", "new"),
    [
        (pico("mlp"), FIVE, HEAD),
        (pico("resnet"), FIVE, {"fc.weight", "fc.bias"}),
        (resnet(depth=9), {"img_size": 40}, set()),
        (pico("dit"), FIVE, {"class_embed.weight"}),
        (
            pico("bert"),
            LABELS,
            {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"},
        ),
        (pico("bert-classification"), {"num_labels": 5}, {"classifier.weight", "classifier.bias"}),
    ],
    ids=lambda value: value.family.name if isinstance(value, Architecture) else "",
)
def test_only_what_the_head_touches_is_new(source: Architecture, head: dict[str, Any], new: set[str]) -> None:
    arch, weights = change_head(source, head), trained(source)
    result = with_head(arch, weights, seed=0)
    assert {name: tuple(tensor.shape) for name, tensor in result.items()} == arch.shapes()
    assert {name for name in result if name not in weights or not torch.equal(result[name], weights[name])} == new
    assert outputs(arch, result).isfinite().all()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_text_body_without_a_head_is_inherited_under_the_names_of_a_classifier(family: str) -> None:
    body = change_head(pico(family), {"task": "none"})
    classifier, weights = change_head(body, LABELS), trained(body)
    result = with_head(classifier, weights, seed=0)
    inherited = {name for name in weights if torch.equal(result.get(f"{family}.{name}", torch.empty(0)), weights[name])}
    lost = {"pooler.dense.weight", "pooler.dense.bias"} if family == "roberta" else set()  # its classifiers have none
    assert inherited == weights.keys() - lost
    assert all(name.startswith("classifier.") for name in result if name.removeprefix(f"{family}.") not in weights)


def test_load_takes_a_head_and_a_seed(tmp_path: Path) -> None:
    GENE.save(tmp_path / "gene")
    model = zoo.load(str(tmp_path / "gene"), depth=4, width=12, head=FIVE, seed=3)
    want = instantiate(GENE, GENE.size(4, 12), FIVE, seed=3).weights
    assert all(torch.equal(tensor, want[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("family", "head", "words"),
    [
        ("vit", {"in_chans": 3}, "head.in_chans: not a field that a new use of 'vit' may change; legal: num_classes"),
        ("vit", {"num_classes": 0}, "config.num_classes: Input should be greater than 0"),
        ("gpt2", {"num_labels": 2}, "head.num_labels: .* of 'gpt2' may change; legal: none"),
        ("bert", {"task": "classification"}, "config.num_labels: .*needed for task classification"),
    ],
)
def test_another_field_or_value_is_refused(family: str, head: dict[str, Any], words: str) -> None:
    source = pico(family)
    gene = condense(Checkpoint(source, trained(source)), Front())
    with pytest.raises(BadInputError, match=words):
        instantiate(gene, source.size, head)
