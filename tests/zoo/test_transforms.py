"""The arithmetic: Kronecker sums, cosine transforms, stretched axes."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few

from zoo.transforms import dct
from zoo.transforms.axes import cycle, cycle_inputs, interpolate
from zoo.transforms.kron import compose

small = st.integers(1, 4)
lengths = st.integers(1, 12)


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@st.composite
def signals(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A tensor of one to three axes, and one of these axes."""
    shape = draw(st.lists(lengths, min_size=1, max_size=3))
    return randn(*shape), draw(st.integers(-len(shape), len(shape) - 1))


@few
@given(st.lists(small, max_size=3), small, small, small, small, small)
def test_compose_is_the_sum_of_kronecker_products(batch: list[int], a: int, b: int, n: int, u: int, v: int) -> None:
    scalers, templates = randn(*batch, a, b, n), randn(n, u, v)
    composed = compose(scalers, templates)
    assert composed.shape == (*batch, a * u, b * v)
    for index in product(*map(range, batch)):
        want = sum((torch.kron(scalers[index][..., i], templates[i]) for i in range(n)), torch.zeros(()))
        assert_close(composed[index], want)


@few
@given(st.lists(small, max_size=2), small, small, small, small, small, st.lists(small, min_size=1, max_size=2))
def test_templates_of_convolutions_hold_whole_kernels(
    batch: list[int], a: int, b: int, n: int, u: int, v: int, kernel: list[int]
) -> None:
    scalers, templates = randn(*batch, a, b, n), randn(n, u, v, *kernel)
    composed = compose(scalers, templates)
    assert composed.shape == (*batch, a * u, b * v, *kernel)
    for index in product(*map(range, (*batch, a, b, u, v))):
        *layer, row, column, i, j = index
        want = sum(scalers[(*layer, row, column, t)] * templates[t, i, j] for t in range(n))
        assert_close(composed[(*layer, row * u + i, column * v + j)], want)


@few
@given(small, small, small, small)
def test_the_other_order_is_the_same_up_to_a_permutation(a: int, b: int, u: int, v: int) -> None:
    """Row `(a, u)` of kron(S, T) is row `(u, a)` of kron(T, S); so with the columns."""
    scaler, template = randn(a, b), randn(u, v)
    rows = torch.arange(u * a).view(u, a).T.flatten()
    columns = torch.arange(v * b).view(v, b).T.flatten()
    assert_close(compose(scaler[..., None], template[None]), torch.kron(template, scaler)[rows][:, columns])


def test_compose_is_differentiable_in_scalers_and_templates() -> None:
    inputs = (randn(2, 3, 2, 2).requires_grad_(), randn(2, 2, 3).requires_grad_())
    assert torch.autograd.gradcheck(compose, inputs)


@few
@given(signals(), st.data())
def test_forward_is_scipys_orthonormal_dct(signal: tuple[Tensor, int], data: st.DataObject) -> None:
    x, axis = signal
    keep = data.draw(st.integers(1, x.shape[axis]))
    want = np.asarray(scipy.fft.dct(x.numpy(), type=2, norm="ortho", axis=axis), np.float64)
    assert_close(dct.forward(x, axis, keep).numpy(), np.take(want, range(keep), axis=axis))


@few
@given(signals(), lengths)
def test_inverse_is_scipys_at_any_length(signal: tuple[Tensor, int], samples: int) -> None:
    """scipy cuts or pads the coefficients to `n`, and so do we."""
    x, axis = signal
    want = scipy.fft.idct(x.numpy(), type=2, norm="ortho", n=samples, axis=axis)
    assert_close(dct.inverse(x, axis, samples).numpy(), want)


@few
@given(signals(), st.integers(0, 12))
def test_a_signal_comes_back_from_any_longer_length(signal: tuple[Tensor, int], more: int) -> None:
    x, axis = signal
    n = x.shape[axis]
    longer = dct.inverse(dct.forward(x, axis, n), axis, n + more)
    assert_close(dct.inverse(dct.forward(longer, axis, n), axis, n), x)


@few
@given(signals(), st.data())
def test_inverse_is_the_adjoint_of_forward(signal: tuple[Tensor, int], data: st.DataObject) -> None:
    x, axis = signal
    kept = dct.forward(x, axis, data.draw(st.integers(1, x.shape[axis])))
    c = randn(*kept.shape)
    assert_close((kept * c).sum(), (x * dct.inverse(c, axis, x.shape[axis])).sum())


@few
@given(signals())
def test_forward_is_linear_and_keeps_the_energy(signal: tuple[Tensor, int]) -> None:
    x, axis = signal
    n, y = x.shape[axis], x.flip(0)
    assert_close(dct.forward(2 * x - 3 * y, axis, n), 2 * dct.forward(x, axis, n) - 3 * dct.forward(y, axis, n))
    assert_close(dct.forward(x, axis, n).square().sum(), x.square().sum())


@pytest.mark.parametrize("n", [1, 2, 31, 96])
def test_the_transform_is_orthonormal(n: int) -> None:
    basis = dct.forward(torch.eye(n, dtype=torch.float64), 0, n)
    assert_close(basis @ basis.mT, torch.eye(n, dtype=torch.float64))


@pytest.mark.parametrize("transform", [lambda x: dct.forward(x, 1, 3), lambda x: dct.inverse(x, 0, 7)])
def test_the_transforms_are_differentiable(transform: Callable[[Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(transform, randn(3, 5).requires_grad_())


def test_the_first_use_of_a_length_does_not_decide_for_the_others() -> None:
    """The matrices are kept: one made under `meta` or in inference mode must serve real tensors and gradients."""
    with torch.device("meta"):
        dct.forward(torch.zeros(41), 0, 41)
    with torch.inference_mode():
        dct.forward(randn(43), 0, 43)
    assert_close(dct.forward(torch.ones(41), 0, 1), torch.tensor([41**0.5]))
    x = randn(43).requires_grad_()
    (gradient,) = torch.autograd.grad(dct.forward(x, 0, 43).square().sum(), x)
    assert_close(gradient, 2 * x)


@few
@given(signals(), lengths)
def test_interpolate_is_numpys_between_kept_ends(signal: tuple[Tensor, int], length: int) -> None:
    x, axis = signal
    n = x.shape[axis]
    stretched = interpolate(x, axis, length)
    at = np.linspace(0, n - 1, length)
    want = np.apply_along_axis(lambda line: np.interp(at, np.arange(n), line), axis, x.numpy())
    assert_close(stretched.numpy(), want)
    assert torch.equal(stretched.select(axis, 0), x.select(axis, 0))
    if length > 1:
        assert torch.equal(stretched.select(axis, -1), x.select(axis, -1))


@few
@given(signals())
def test_interpolate_and_cycle_leave_the_same_length_alone(signal: tuple[Tensor, int]) -> None:
    x, axis = signal
    for stretch in (interpolate, cycle, cycle_inputs):
        assert torch.equal(stretch(x, axis, x.shape[axis]), x)


@few
@given(signals(), st.integers(1, 30))
def test_cycle_starts_again_from_the_first_entry(signal: tuple[Tensor, int], length: int) -> None:
    x, axis = signal
    want = np.take(x.numpy(), range(length), axis=axis, mode="wrap")
    assert np.array_equal(cycle(x, axis, length).numpy(), want)


@few
@given(small, lengths, st.integers(0, 24))
def test_a_map_with_cycled_inputs_gives_the_same_outputs(out: int, n: int, more: int) -> None:
    w, x = randn(out, n), randn(n)
    assert_close(cycle_inputs(w, 1, n + more) @ cycle(x, 0, n + more), w @ x)


@few
@given(lengths, st.data())
def test_cycled_inputs_of_a_narrower_map_are_its_first(n: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, n))
    w = randn(2, n)
    assert torch.equal(cycle_inputs(w, 1, length), w[:, :length])
