"""The cosine transform: matrix products along short axes, the FFT along long ones."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few

from zoo.transforms import dct

short, long = st.integers(1, 12), st.sampled_from([dct.SHORT, dct.SHORT + 1, 200, 301])
lengths = short | long


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def cosines(n: int) -> Tensor:
    """The definition: `s_k cos(pi k (2i + 1) / 2n)` for all frequencies k (rows) and samples i."""
    k, i = np.mgrid[:n, :n]
    scale = np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n))
    return torch.from_numpy(scale * np.cos(np.pi * (k * (2 * i + 1) % (4 * n)) / (2 * n)))


def along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    return (x.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)


@st.composite
def signals(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A tensor of one to three axes, and one of these axes, short or long."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] = draw(lengths)
    return randn(*shape), axis


@few
@given(signals(), st.data())
def test_forward_gives_the_first_coefficients(signal: tuple[Tensor, int], data: st.DataObject) -> None:
    x, axis = signal
    n = x.shape[axis]
    keep = data.draw(st.integers(1, n))
    assert_close(dct.forward(x, axis, keep), along(cosines(n)[:keep], x, axis), rtol=0, atol=1e-12)


@few
@given(signals(), lengths)
def test_inverse_reads_coefficients_at_any_length(signal: tuple[Tensor, int], samples: int) -> None:
    c, axis = signal
    known = min(c.shape[axis], samples)
    want = along(cosines(samples)[:known].mT, c.narrow(axis, 0, known), axis)
    assert_close(dct.inverse(c, axis, samples), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((5, 3, 8, 6), {0: 2, 2: 8, -1: 1}), ((300, 2, 7, 301), {0: 9, -1: 301}), ((2, 157, 160), {-2: 80, 0: 1, -1: 3})],
)
def test_several_axes_at_once_are_one_after_the_other(shape: tuple[int, ...], kept: dict[int, int]) -> None:
    low = x = randn(*shape)
    for axis, count in kept.items():
        low = dct.forward(low, axis, count)
    assert_close(dct.forward(x, list(kept), list(kept.values())), low)
    samples = dict.fromkeys(kept, 4) | {-1: 170}
    wide = low
    for axis, count in samples.items():
        wide = dct.inverse(wide, axis, count)
    assert_close(dct.inverse(low, list(samples), list(samples.values())), wide)


def test_inputs_stay_as_they_are() -> None:
    """Long axes are transformed in place, but only in memory of our own."""
    x = randn(150, 2, 160)
    before = x.clone()
    dct.forward(x, [0, 2], [150, 160])
    dct.inverse(x, [0, 2], [150, 160])
    dct.inverse(x, [0, 2], [140, 130])
    assert torch.equal(x, before)


@pytest.mark.parametrize("keep", [[150, 2, 40], [40, 2, 160], [40, 1, 40]])
def test_what_is_kept_holds_no_memory_of_what_is_cut(keep: list[int]) -> None:
    low = dct.forward(randn(150, 2, 160), [0, 1, 2], keep)
    assert low.is_contiguous()
    assert low.untyped_storage().nbytes() == low.numel() * low.element_size()


@pytest.mark.parametrize("axis", [0, 1])
def test_transposed_inputs_give_the_transposed_result(axis: int) -> None:
    x = randn(160, 150)
    assert_close(dct.forward(x.mT, axis, 30), dct.forward(x, 1 - axis, 30).mT)


@pytest.mark.parametrize("shape", [(12, 768), (3, 96, 768)])
def test_single_precision_is_exact_to_a_millionth(shape: tuple[int, ...]) -> None:
    x, axes = randn(*shape, dtype=torch.float32), list(range(len(shape)))
    low, want = dct.forward(x, axes, shape), dct.forward(x.double(), axes, shape)
    assert low.dtype == torch.float32
    assert (low - want).norm() < 1e-6 * want.norm()
    assert (dct.inverse(low, axes, shape) - x).norm() < 1e-6 * x.norm()


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


@pytest.mark.parametrize("n", [1, 2, 31, 96, 257, 258])
def test_the_transform_is_orthonormal(n: int) -> None:
    basis = dct.forward(torch.eye(n, dtype=torch.float64), 0, n)
    assert_close(basis @ basis.mT, torch.eye(n, dtype=torch.float64))


@pytest.mark.parametrize(
    "transform",
    [
        lambda x: dct.forward(x, 1, 3),
        lambda x: dct.inverse(x, [0, 1], [7, 4]),
        lambda x: dct.forward(dct.inverse(x, 1, 140).square(), [0, 1], [2, 3]),
    ],
    ids=["forward", "inverse", "long"],
)
def test_the_transforms_are_differentiable(transform: Callable[[Tensor], Tensor]) -> None:
    x = randn(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(transform, x)
    assert torch.autograd.gradgradcheck(transform, x)


@pytest.mark.parametrize("n", [41, 341])
def test_the_first_use_of_a_length_does_not_decide_for_the_others(n: int) -> None:
    """Tables are kept: one made under `meta` or in inference mode must serve real tensors and gradients."""
    with torch.device("meta"):
        assert dct.inverse(dct.forward(torch.zeros(2, n), 1, 9), 1, n + 1).shape == (2, n + 1)
    with torch.inference_mode():
        dct.forward(randn(n + 2), 0, n + 2)
    assert_close(dct.forward(torch.ones(n), 0, 1), torch.tensor([n**0.5]))
    x = randn(n + 2).requires_grad_()
    (gradient,) = torch.autograd.grad(dct.forward(x, 0, n + 2).square().sum(), x)
    assert_close(gradient, 2 * x)
