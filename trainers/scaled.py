"""Scaled optimizers: a widened model trains exactly as its narrow ancestor does (mu-pscaling, arXiv 2602.10545).

Widening gives `W_wide = tile(W) / s` and gradients `G_wide = g tile(G)` (`zoo.methods.mupscaling`). A step keeps this
when its update is `1/s` times the narrow one's. With L2 decay `d s g` the decayed gradient is `g` times the narrow
one's, and

- SGD's update is linear in it: lr / (s g). Momentum, dampening and Nesterov only add gradients up.
- Adam's update `m / (sqrt(v) + eps)` does not change with it when eps g takes the place of eps: lr / s. AMSGrad alike.
  (eps stands outside of the root, as torch has it; inside, it would be eps g^2.)
- AdamW's decoupled decay multiplies weights by `1 - lr d`: d s beside lr / s.

States follow the gradients: momentum and first moments times g, second moments (and their maxima) times g^2, the count
of steps as it is. A wide gradient has `copies` of every number, so the narrow model's norm is the root of
`sum |G_wide|^2 / (g^2 copies)`; clipping by any other norm breaks the equality. With s = k_in, g = 1/k_out and
copies = k_in k_out these are the paper's rules: SGD's lr k_out/k_in, Adam's lr / k_in and eps / k_out, L2 decay
k_in/k_out, decoupled decay k_in, states / k_out and / k_out^2, the norm `sum (k_out/k_in) |G_wide|^2`.

The equality is exact but for rounding errors. Where a gradient is zero for a reason (the bias of keys, a shift before
batch normalisation) Adam with a small eps turns these into steps, which change nothing that the model computes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import SGD, Adam, Optimizer

from zoo.errors import BadInputError
from zoo.methods.mupscaling import Multipliers

Tile = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Repeats named tensors of the narrow model's shapes to the wide model's: `partial(tiled, source=..., target=...)`."""

POWERS = {"momentum_buffer": 1, "exp_avg": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 2}
"""How often the gradient is a factor of each state."""


def scale_optimizer_(optimizer: Optimizer, multipliers: Mapping[str, Multipliers]) -> None:
    """Turn the narrow model's settings into the wide model's: SGD, Adam or AdamW over *named* parameters.

    Groups are split by multipliers. Each one also gets `lr_scale`: a schedule sets `lr = lr_scale * (narrow lr)`.
    Raises `BadInputError` for another optimizer.
    """
    if not isinstance(optimizer, SGD | Adam):
        raise BadInputError(f"optimizer: {type(optimizer).__name__} has no scaling rule; legal: SGD, Adam, AdamW")
    optimizer.param_groups = [
        _scaled(part, m) for group in optimizer.param_groups for m, part in _split(group, multipliers)
    ]


def widened_states(
    narrow: Mapping[str, Mapping[str, Any]], multipliers: Mapping[str, Multipliers], tile: Tile
) -> dict[str, dict[str, Tensor]]:
    """Optimizer states by parameter and field, widened; the count of steps is copied, never shared."""
    widened = {name: {"step": entry["step"].clone()} if "step" in entry else {} for name, entry in narrow.items()}
    for field, power in POWERS.items():
        # A momentum that is None has seen no gradient yet: the first one will start it.
        held = {name: entry[field] for name, entry in narrow.items() if entry.get(field) is not None}
        if held:
            for name, tensor in tile({name: x * multipliers[name].g ** power for name, x in held.items()}).items():
                widened[name][field] = tensor.contiguous()  # fused optimizers walk through it as through the parameter
    return widened


def scaled_clip_(
    parameters: Iterable[tuple[str, Tensor]], multipliers: Mapping[str, Multipliers], max_norm: float
) -> Tensor:
    """Clip the gradients of named parameters by the norm that the narrow model's have; that norm before, a scalar."""
    named = [(name, p, p.grad) for name, p in parameters if p.grad is not None]
    norms = [grad.norm() / (multipliers[name].g * multipliers[name].copies ** 0.5) for name, _, grad in named]
    norm = torch.stack(norms).norm()
    clip_grads_with_norm_([p for _, p, _ in named], max_norm, norm)
    return norm


def _scaled(group: Mapping[str, Any], m: Multipliers) -> dict[str, Any]:
    """A group's settings by the rules on top of this file; only Adam's have an eps."""
    adaptive, decoupled = "eps" in group, group.get("decoupled_weight_decay", False)
    lr_scale = 1 / m.s if adaptive else 1 / (m.s * m.g)
    scaled = {
        **group,
        "lr": group["lr"] * lr_scale,
        "lr_scale": lr_scale,
        "weight_decay": group["weight_decay"] * (m.s if decoupled else m.s * m.g),
    }
    return scaled | {"eps": group["eps"] * m.g} if adaptive else scaled


def _split(
    group: Mapping[str, Any], multipliers: Mapping[str, Multipliers]
) -> Iterator[tuple[Multipliers, dict[str, Any]]]:
    """A group once for each of the multipliers in it, with the parameters that have these."""
    named = list(zip(group["param_names"], group["params"], strict=True))
    for m in dict.fromkeys(multipliers[name] for name, _ in named):
        mine = [(name, p) for name, p in named if multipliers[name] == m]
        yield m, {**group, "params": [p for _, p in mine], "param_names": [name for name, _ in mine]}
