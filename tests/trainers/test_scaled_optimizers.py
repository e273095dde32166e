"""Scaled settings, states and clipping, one by one, against the paper's table."""

from math import sqrt
from typing import Any

import pytest
import torch
from joint import plain_mlp
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from trainers.scaled import scale_optimizer_, scaled_clip_, widened_states
from zoo.errors import BadInputError
from zoo.methods.mupscaling import Multipliers

K_IN, K_OUT = 3, 5
MAP = {"w": Multipliers(s=K_IN, g=1 / K_OUT, copies=K_IN * K_OUT)}
LR, DECAY, EPS = 0.1, 0.2, 0.3


def scaled(make: Any, **settings: float) -> dict[str, Any]:
    """The settings of an optimizer of one widened map."""
    optimizer: Optimizer = make([("w", nn.Parameter(torch.ones(2)))], lr=LR, weight_decay=DECAY, **settings)
    scale_optimizer_(optimizer, MAP)
    (group,) = optimizer.param_groups
    return group


def test_sgd_has_the_papers_rate_and_decay() -> None:
    group = scaled(SGD, momentum=0.9)
    assert group["lr"] == pytest.approx(LR * K_OUT / K_IN)
    assert group["weight_decay"] == pytest.approx(DECAY * K_IN / K_OUT)
    assert group["momentum"] == 0.9


def test_adam_has_the_papers_rate_eps_and_decay() -> None:
    group = scaled(Adam, eps=EPS)
    assert group["lr"] == pytest.approx(LR / K_IN)
    assert group["eps"] == pytest.approx(EPS / K_OUT)
    assert group["weight_decay"] == pytest.approx(DECAY * K_IN / K_OUT)


def test_adamw_has_the_papers_rate_eps_and_decay() -> None:
    group = scaled(AdamW, eps=EPS)
    assert group["lr"] == pytest.approx(LR / K_IN)
    assert group["eps"] == pytest.approx(EPS / K_OUT)
    assert group["weight_decay"] == pytest.approx(DECAY * K_IN)


def test_an_optimizer_without_a_rule_is_refused() -> None:
    with pytest.raises(BadInputError, match="RMSprop has no scaling rule; legal: SGD, Adam, AdamW"):
        scaled(RMSprop)


def test_parameters_keep_their_own_settings_when_groups_are_split() -> None:
    """Two groups of two parameters with different multipliers each."""
    names = ("a.weight", "a.bias", "b.weight", "b.bias")
    p = {name: nn.Parameter(torch.ones(1)) for name in names}
    maps = {"params": [("a.weight", p["a.weight"]), ("b.weight", p["b.weight"])], "weight_decay": DECAY}
    others = {"params": [("a.bias", p["a.bias"]), ("b.bias", p["b.bias"])], "weight_decay": 0.0}
    optimizer = AdamW([maps, others], lr=LR)
    multipliers = {name: Multipliers(s=2 if "weight" in name else 1, g=1, copies=2) for name in names}
    multipliers["b.weight"] = Multipliers(s=4, g=1, copies=4)
    scale_optimizer_(optimizer, multipliers)
    found = {
        name: (group["lr"], group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, q in zip(group["param_names"], group["params"], strict=True)
        if q is p[name]
    }
    assert found == {
        "a.weight": (LR / 2, 1 / 2, DECAY * 2),
        "b.weight": (LR / 4, 1 / 4, DECAY * 4),
        "a.bias": (LR, 1, 0),
        "b.bias": (LR, 1, 0),
    }


def states(make: Any, **settings: Any) -> dict[str, dict[str, Any]]:
    """States of an optimizer after one step with gradients of ones."""
    p = nn.Parameter(torch.zeros(2, 3))
    optimizer: Optimizer = make([("w", p)], lr=LR, **settings)
    p.grad = torch.ones(2, 3)
    optimizer.step()
    return {"w": optimizer.state[p]}


def tile(tensors: Any) -> dict[str, Tensor]:
    return {name: tensor.tile(K_OUT, K_IN) for name, tensor in tensors.items()}


@pytest.mark.parametrize(("make", "settings"), [(SGD, {"momentum": 0.9}), (Adam, {"amsgrad": True})])
def test_states_follow_the_gradients(make: Any, settings: dict[str, Any]) -> None:
    """Moments of the first order fall by k_out, those of the second by its square, the count of steps stays."""
    narrow = states(make, **settings)
    wide = widened_states(narrow, MAP, tile)["w"]
    assert wide.keys() == narrow["w"].keys()
    for field, tensor in narrow["w"].items():
        factor = 1 if field == "step" else K_OUT**2 if "sq" in field else K_OUT
        expected = tensor if field == "step" else tensor.tile(K_OUT, K_IN) / factor
        torch.testing.assert_close(wide[field], expected)


def test_the_count_of_steps_is_not_shared() -> None:
    narrow = states(Adam)
    widened_states(narrow, MAP, tile)["w"]["step"] += 1
    assert narrow["w"]["step"] == 1


def test_a_momentum_that_has_seen_no_gradient_stays_away() -> None:
    assert widened_states({"w": {"momentum_buffer": None}}, MAP, tile) == {"w": {}}


def test_states_lie_in_memory_as_parameters_do() -> None:
    """Fused optimizers read them number by number, whatever their strides say."""
    wide = widened_states(states(Adam), MAP, lambda tensors: {n: x.mT.tile(K_IN, K_OUT).mT for n, x in tensors.items()})
    assert wide["w"]["exp_avg"].is_contiguous()


@pytest.mark.parametrize("max_norm", [0.01, 100.0])
def test_clipping_is_by_the_narrow_models_norm(max_norm: float) -> None:
    """The norm is that of the narrow gradients, and both models' gradients shrink by the same factor."""
    pair = plain_mlp()
    narrow = pair.narrow()
    wide = pair.widened(narrow)
    random = torch.Generator().manual_seed(0)
    for name, p in narrow.named_parameters():
        p.grad = torch.randn(p.shape, generator=random)
        wide.get_parameter(name).grad = pair.tile({name: p.grad * pair.multipliers[name].g})[name]
    norm = sqrt(sum(p.grad.square().sum().item() for p in narrow.parameters() if p.grad is not None))
    assert scaled_clip_(wide.named_parameters(), pair.multipliers, max_norm).item() == pytest.approx(norm)
    clip_grad_norm_(narrow.parameters(), max_norm)
    for name, p in narrow.named_parameters():
        assert p.grad is not None
        expected = pair.tile({name: p.grad * pair.multipliers[name].g})[name]
        torch.testing.assert_close(wide.get_parameter(name).grad, expected)
