"""Coordinate check of mu-pscaling: how large activations get in training, over a 16 x range of widths.

A narrow model is trained from scratch, widened by 1, 2, 4, 8 and 16 with symmetry-breaking noise, and trained on with
the scaled optimizer. A layer's size is its mean absolute output in the last step, its spread the largest ratio of its
sizes at two widths; a row has the widest spread of all layers (target: at most 2). Spreads by layer, and those under
an optimizer that is not scaled, are printed meanwhile. The coordinate check is that of muP (arXiv 2203.03466).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from benchmarks.rows import SEED, Row, at_most, main, say
from trainers.parametrization import Parametrization, Plain
from trainers.scaled import scale_optimizer_
from trainers.widened import Widened
from zoo import Architecture, Checkpoint, Size
from zoo.families import architecture
from zoo.methods.mupscaling import MuPScaling

TIMES = (1, 2, 4, 8, 16)
BASE_STEPS, STEPS, BATCH, LR, NOISE, LIMIT = 100, 10, 64, 3e-3, 0.05, 2.0
IMAGES = {"img_size": 8, "in_chans": 1, "num_classes": 10}
NARROW = {
    "mlp": architecture("mlp", IMAGES, Size(depth=3, width=32)),
    "vit": architecture("vit", {**IMAGES, "patch_size": 4}, Size(depth=2, width=32, heads=2)),
}


def run() -> list[Row]:
    """A row a family."""
    rows: list[Row] = []
    for family, arch in NARROW.items():
        base = trained(arch)
        ours, control = (spreads([sizes(base, k, scaled=scaled) for k in TIMES]) for scaled in (True, False))
        for layer, spread in ours.items():
            say(f"{family} {layer}: x {spread:.2f}; with an unscaled optimizer x {control[layer]:.2f}")
        widest = max(ours.values())
        rows.append(at_most(LIMIT, name=f"coordinate_check.{family}", ours=widest, baseline=1.0, unit="x"))
    return rows


def trained(arch: Architecture) -> Checkpoint:
    """The narrow model after some steps from scratch."""
    module = Plain(arch, seed=SEED)
    train(module, AdamW(module.groups(0.0), lr=LR), range(BASE_STEPS))
    return Checkpoint(arch, arch.own(module.model.state_dict()))


def sizes(base: Checkpoint, k: int, *, scaled: bool) -> dict[str, float]:
    """The mean absolute output of every layer of the model `k` times as wide, after training on."""
    size = base.arch.size
    wide = Size(depth=size.depth, width=k * size.width, heads=k * size.heads, mlp=k * size.mlp)
    module = Widened(base, wide, MuPScaling(noise=NOISE, seed=SEED))
    optimizer = AdamW(module.groups(0.0), lr=LR)
    if scaled:
        scale_optimizer_(optimizer, module.multipliers)
    outputs: dict[str, Tensor] = {}
    for name, layer in module.model.named_modules():
        if isinstance(layer, nn.Linear | nn.LayerNorm | nn.Conv2d):
            layer.register_forward_hook(partial(_keep, outputs, name))
    train(module, optimizer, range(BASE_STEPS, BASE_STEPS + STEPS))
    return {name: y.abs().mean().item() for name, y in outputs.items()}


def _keep(outputs: dict[str, Tensor], name: str, _layer: nn.Module, _x: object, y: Tensor) -> None:
    outputs[name] = y.detach()


def train(module: Parametrization, optimizer: Optimizer, steps: range) -> None:
    """Steps on random images whose brightness tells the class."""
    for step in steps:
        random = torch.Generator().manual_seed(step)
        y = torch.randint(10, (BATCH,), generator=random)
        x = torch.randn(BATCH, 1, 8, 8, generator=random) + y.view(-1, 1, 1, 1) / 5
        cross_entropy(module(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()


def spreads(by_width: list[dict[str, float]]) -> dict[str, float]:
    """Of every layer the largest ratio between its sizes at two widths."""
    return {layer: max(s[layer] for s in by_width) / min(s[layer] for s in by_width) for layer in by_width[0]}


if __name__ == "__main__":
    main(run, __doc__)
