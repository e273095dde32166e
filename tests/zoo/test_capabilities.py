"""Every method on every family in every direction: it works, or it says why not. No cell is untested."""

from pathlib import Path

import pytest
import torch
from pico_families import PICOS, sample, trained
from torch.func import functional_call

from zoo.api import condense
from zoo.architecture import Architecture
from zoo.capabilities import DIRECTIONS, capabilities, markdown, moved, refusal
from zoo.checkpoint import Checkpoint
from zoo.families import FAMILIES, architecture
from zoo.learngene import Learngene
from zoo.methods import METHODS
from zoo.methods.base import ClosedForm, Fitted, Method, Trained
from zoo.size import Size

ROOT = Path(__file__).parents[2]
TABLE = {(cell.method, cell.family, cell.direction): cell for cell in capabilities()}


def source(family: str) -> Architecture:
    """A tiny model whose depth and width can be halved."""
    config, _ = PICOS[family]
    table = FAMILIES[family]
    depth = 2 * table.least_depth(table.config(**config))
    heads = 4 if table.attention else 0
    return architecture(family, config, Size(depth=depth, width=16, heads=heads))


def method_of(name: str) -> Method:
    options = {"tile": 8, "templates": 2} if name == "kronecker" else {}
    return METHODS[name].model_validate(options)


def learngene(method: Method, arch: Architecture) -> Learngene:
    if isinstance(method, ClosedForm):
        return condense(Checkpoint(arch, trained(arch)), method)
    assert isinstance(method, Trained)
    return Learngene(method, arch, method.start(arch, seed=0))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_it_works_or_is_refused_with_the_reason_that_the_table_gives(name: str, family: str, direction: str) -> None:
    method, arch = method_of(name), source(family)
    why = refusal(method, arch, direction)
    assert bool(why) == bool(TABLE[name, family, direction].refusal), why
    if why:
        assert len(why) > 20
        return
    target = arch.at(moved(arch.size, direction))
    gene = learngene(method, arch)
    weights = gene.expand(target.size)
    assert {key: tuple(tensor.shape) for key, tensor in weights.items()} == target.shapes()
    assert all(tensor.isfinite().all() for tensor in weights.values())
    statistics = [n for key, kind in target.kinds.items() if kind.statistic and "var" in key for n in target.names(key)]
    assert all((weights[n] > 0).all() for n in statistics)
    assert run(target, weights).isfinite().all()
    if isinstance(method, Fitted):
        assert_gradients(method, gene, target)


def run(arch: Architecture, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    x, model = sample(arch), arch.skeleton().eval()
    args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
    output = functional_call(model, weights, args, kwargs)
    return getattr(output, "logits", getattr(output, "last_hidden_state", output))


def assert_gradients(method: Fitted, gene: Learngene, target: Architecture) -> None:
    """What is fitted to a size is reached by gradients (where the model can learn at all: adaLN starts at zero)."""
    tensors = method.resize(gene.tensors, gene.source, target)
    fitted = {
        n: t.clone().requires_grad_() for n, t in tensors.items() if not method.shared(n) and t.is_floating_point()
    }
    stacks = method.expand(tensors | fitted, target, target)
    torch.stack([stack.square().sum() for stack in stacks.values()]).sum().backward()
    assert any(t.grad is not None and t.grad.abs().sum() > 0 for t in fitted.values())


def test_the_table_in_the_readme_is_the_one_of_the_code() -> None:
    assert markdown() in (ROOT / "README.md").read_text(encoding="utf-8")
