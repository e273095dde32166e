"""The arithmetic: Kronecker sums and stretched axes."""

from itertools import product

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few

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
