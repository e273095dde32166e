"""The penalty of FRONT+: energy outside the low frequencies, by Parseval."""

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few

from zoo.transforms import dct
from zoo.transforms.spectral import decay, high_energy, low_pass

Weights = dict[int, Tensor]


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def masked_mean(x: Tensor, weights: Weights) -> Tensor:
    """The definition, by matrices of scipy: `mean(mask * X^2)`, `mask = 1 - prod_d w_d`."""
    free = torch.ones((), dtype=x.dtype)
    for axis, w in weights.items():
        n = x.shape[axis]
        basis = torch.from_numpy(scipy.fft.dct(torch.eye(n, dtype=torch.float64).numpy(), norm="ortho", axis=0))
        x = (x.movedim(axis, -1) @ basis.mT).movedim(-1, axis)
        free = free * w.view(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    return ((1 - free) * x.square()).mean()


@st.composite
def penalised(draw: st.DrawFn) -> tuple[Tensor, Weights]:
    """A tensor, and weights of some of its axes: hard or soft, weak or so strong that frequencies drop out."""
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    hard = {axis: low_pass(shape[axis], draw(st.integers(1, shape[axis]))) for axis in axes}
    soft = {axis: decay(shape[axis], draw(st.sampled_from([0.0, 0.3, 5.0, 300.0]))) for axis in axes}
    return randn(*shape), {axis: draw(st.sampled_from([hard[axis], soft[axis]])) for axis in axes}


def check(x: Tensor, weights: Weights) -> None:
    x.requires_grad_()
    ours, want = high_energy(x, weights), masked_mean(x, weights)
    assert_close(ours, want)
    assert_close(torch.autograd.grad(ours, x), torch.autograd.grad(want, x))


@few
@given(penalised())
def test_the_penalty_and_its_gradient_are_those_of_the_masked_mean_square(case: tuple[Tensor, Weights]) -> None:
    check(*case)


@pytest.mark.parametrize("last", [low_pass(301, 150), decay(301, 4.0)], ids=["hard", "soft"])
def test_so_they_are_along_long_axes(last: Tensor) -> None:
    check(randn(3, 2, 301), {0: low_pass(3, 2), -1: last})


def test_weights_inside_the_kept_corner_cost_nothing() -> None:
    kept = {0: 2, 1: 5, 2: 7}
    x = dct.inverse(randn(*kept.values()), list(kept), [4, 9, 16])
    weights = {axis: low_pass(n, kept[axis]) for axis, n in enumerate(x.shape)}
    assert_close(high_energy(x, weights), torch.zeros((), dtype=torch.float64))
    assert high_energy(x, weights | {2: low_pass(16, 6)}) > 1e-3


def test_a_descent_leaves_only_the_kept_corner() -> None:
    x, weights = randn(6, 8), {0: low_pass(6, 3), 1: low_pass(8, 4)}
    corner = dct.forward(x, [0, 1], [3, 4])
    parameter = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(high_energy(parameter, weights) * x.numel() / 2, parameter)
    assert_close(x - gradient, dct.inverse(corner, [0, 1], [6, 8]))


def test_autocast_does_not_coarsen_the_penalty() -> None:
    x, weights = randn(3, 8, 8, dtype=torch.float32), {1: low_pass(8, 4), 2: decay(8, 1.0)}
    want = high_energy(x, weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(high_energy(x, weights), want)
