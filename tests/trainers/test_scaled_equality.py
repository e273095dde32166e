"""A widened model with a scaled optimizer goes on computing, layer by layer, what its narrow ancestor computes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from joint import PAIRS, Joint, Make, Pair, of_family, plain_mlp
from torch import nn
from torch.optim import SGD, Adam, AdamW

STEPS = 200
BOUND, BOUND_FP32 = 1e-9, 1e-4
SGDS: dict[str, Make] = {
    "momentum": partial(SGD, lr=3e-3, momentum=0.9, weight_decay=0.01),
    "dampening": partial(SGD, lr=3e-3, momentum=0.9, dampening=0.5, weight_decay=0.01),
    "nesterov": partial(SGD, lr=3e-3, momentum=0.9, nesterov=True, weight_decay=0.01),
}
# A large eps, so that its scaling shows. It also keeps Adam from turning rounding errors into steps where a gradient
# is zero for a reason, as that of every bias of keys is.
ADAMS: dict[str, Make] = {
    "adam": partial(Adam, lr=3e-4, eps=1e-4, weight_decay=0.01),
    "amsgrad": partial(Adam, lr=3e-4, eps=1e-4, weight_decay=0.01, amsgrad=True),
    "adamw": partial(AdamW, lr=3e-4, eps=1e-4, weight_decay=0.1),
}
OPTIMIZERS = SGDS | ADAMS
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS)
pytestmark = pytest.mark.usefixtures("one_thread")
clipping = pytest.mark.parametrize("clip", [None, 0.5], ids=["unclipped", "clipped"])
GRID = ("vit", "resnet", "bert", "gpt2")
"""The families for every optimizer; the others see one."""


def fused(optimizer: str) -> Make:
    """The implementation that engines use."""
    return partial(OPTIMIZERS[optimizer], fused=True)


@clipping
@optimizers
def test_a_plain_mlp_with_unequal_multipliers(optimizer: str, clip: float | None) -> None:
    assert Joint(plain_mlp(), OPTIMIZERS[optimizer], clip).gap(STEPS) < BOUND


@pytest.mark.slow
@clipping
@optimizers
@pytest.mark.parametrize("family", GRID)
def test_a_model_of_a_family(family: str, optimizer: str, clip: float | None) -> None:
    assert Joint(of_family(family), fused(optimizer), clip).gap(STEPS) < BOUND


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(PAIRS.keys() - GRID))
def test_a_model_of_any_other_family(family: str) -> None:
    assert Joint(of_family(family), fused("adamw"), 0.5).gap(STEPS) < BOUND


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "clip"), [("momentum", 0.5), ("adamw", None)])
@pytest.mark.parametrize("family", ["plain", *GRID])
def test_single_precision(family: str, optimizer: str, clip: float | None) -> None:
    """Small steps, which magnify rounding errors less; where a ReLU bends, a rounding error would flip a gradient."""
    pair = plain_mlp() if family == "plain" else smooth(of_family(family))
    make = partial(fused(optimizer), lr=1e-4 if optimizer == "adamw" else 1e-3)
    assert Joint(pair, make, clip, torch.float32).gap(STEPS) < BOUND_FP32


@clipping
@optimizers
@pytest.mark.parametrize("family", ["plain", *GRID])
def test_without_scaling_the_same_measure_is_far_beyond_the_bound(
    family: str, optimizer: str, clip: float | None
) -> None:
    pair = plain_mlp() if family == "plain" else of_family(family)
    assert Joint(pair, fused(optimizer), clip, scaled=False).gap(10) > 1000 * BOUND


@pytest.mark.parametrize(
    ("optimizer", "setting"),
    [
        ("momentum", "lr"),
        ("momentum", "weight_decay"),
        ("adam", "lr"),
        ("adam", "eps"),
        ("adam", "weight_decay"),
        ("adamw", "lr"),
        ("adamw", "eps"),
        ("adamw", "weight_decay"),
    ],
)
def test_every_rule_is_needed(optimizer: str, setting: str) -> None:
    joint = Joint(plain_mlp(), OPTIMIZERS[optimizer])
    for group in joint.wide_optimizer.param_groups:
        group[setting] = joint.narrow_optimizer.param_groups[0][setting]
    assert joint.gap(STEPS) > 1000 * BOUND


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [("nesterov", "momentum_buffer"), ("adam", "exp_avg"), ("adam", "exp_avg_sq"), ("amsgrad", "max_exp_avg_sq")],
)
def test_every_state_is_needed(optimizer: str, field: str) -> None:
    joint = Joint(plain_mlp(), OPTIMIZERS[optimizer])
    for name, p in joint.wide.named_parameters():
        joint.wide_optimizer.state[p][field] /= joint.pair.multipliers[name].g
    assert joint.gap(STEPS) > 1000 * BOUND


def test_clipping_by_the_wide_gradients_own_norm_breaks_the_equality() -> None:
    pair = plain_mlp()
    joint = Joint(pair, OPTIMIZERS["momentum"], 0.05)
    joint.pair = replace(pair, multipliers={name: replace(m, g=1, copies=1) for name, m in pair.multipliers.items()})
    assert joint.gap(STEPS) > 1000 * BOUND


def smooth(pair: Pair) -> Pair:
    """The same pair with GELU in place of ReLU, and means in place of maxima."""

    def smoothed(model: nn.Module) -> nn.Module:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.ReLU):
                model.set_submodule(name, nn.GELU())
            elif isinstance(module, nn.MaxPool2d):
                model.set_submodule(name, nn.AvgPool2d(3, stride=2, padding=1))
        return model

    def then_smoothed(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        return lambda *args: smoothed(make(*args))

    return replace(pair, narrow=then_smoothed(pair.narrow), widened=then_smoothed(pair.widened))
