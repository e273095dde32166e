"""Coordinate check of mu-pscaling: how large activations get in training, over a 16 x range of widths.

A narrow model is widened by 1, 2, 4, 8 and 16 with symmetry-breaking noise and trained for some steps with the scaled
optimizer. A layer's size is its mean absolute output in the last step; a row is the largest ratio, over all layers, of
its sizes at two widths (target: at most 2). The coordinate check is that of muP (arXiv 2203.03466).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.rows import SEED, Row, at_most, main, say
from trainers.scaled import scale_optimizer_
from trainers.widened import Widened
from zoo import Architecture, Checkpoint, Size
from zoo.families import architecture
from zoo.methods.mupscaling import MuPScaling
from zoo.methods.random import random_start

TIMES = (1, 2, 4, 8, 16)
STEPS, BATCH, LR, NOISE, LIMIT = 10, 64, 3e-3, 0.02, 2.0
IMAGES = {"img_size": 8, "in_chans": 1, "num_classes": 10}
NARROW = {
    "mlp": architecture("mlp", IMAGES, Size(depth=3, width=32)),
    "vit": architecture("vit", {**IMAGES, "patch_size": 4}, Size(depth=2, width=16, heads=1)),
}


def run() -> list[Row]:
    """A row a family; what an optimizer that is not scaled gives is said beside it."""
    rows: list[Row] = []
    for family, arch in NARROW.items():
        ours, control = (widest_spread([sizes(arch, k, scaled=scaled) for k in TIMES]) for scaled in (True, False))
        rows.append(at_most(LIMIT, name=f"coordinate_check.{family}", ours=ours, baseline=1.0, unit="x"))
        say(f"{family}: {ours:.2f} over widths x {TIMES[0]} to {TIMES[-1]}; with an unscaled optimizer {control:.2f}")
    return rows


def sizes(arch: Architecture, k: int, *, scaled: bool) -> dict[str, float]:
    """The mean absolute output of every layer of the model `k` times as wide, after training."""
    narrow, size = Checkpoint(arch, arch.unstack(random_start(arch, SEED))), arch.size
    wide = Size(depth=size.depth, width=k * size.width, heads=k * size.heads, mlp=k * size.mlp)
    module = Widened(narrow, wide, MuPScaling(noise=NOISE, seed=SEED))
    optimizer = torch.optim.AdamW(module.groups(0.0), lr=LR)
    if scaled:
        scale_optimizer_(optimizer, module.multipliers)
    outputs: dict[str, Tensor] = {}
    for name, layer in module.model.named_modules():
        if isinstance(layer, nn.Linear | nn.LayerNorm | nn.Conv2d):
            layer.register_forward_hook(_keeper(outputs, name))
    random = torch.Generator().manual_seed(SEED)
    for _step in range(STEPS):
        x = torch.randn(BATCH, 1, 8, 8, generator=random)
        y = torch.randint(10, (BATCH,), generator=random)
        cross_entropy(module(x + y.view(-1, 1, 1, 1) / 5), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: y.abs().mean().item() for name, y in outputs.items()}


def _keeper(outputs: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[name] = output.detach()

    return keep


def widest_spread(by_width: list[dict[str, float]]) -> float:
    """The largest ratio, over layers, between their sizes at two widths."""
    return max(max(s[layer] for s in by_width) / min(s[layer] for s in by_width) for layer in by_width[0])


if __name__ == "__main__":
    main(run, __doc__)
