"""The cosine transform, by matrix products along short axes and by FFT along long ones: scipy's, at any length."""

from collections.abc import Callable

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

short, long = st.integers(1, 12), st.sampled_from([dct.SHORT, dct.SHORT + 1, 300, 301])
lengths = short | long


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def scipys(x: Tensor, axis: int | list[int], keep: int | list[int]) -> Tensor:
    axes, kept = ([axis], [keep]) if isinstance(axis, int) else (axis, keep)
    want = torch.from_numpy(scipy.fft.dctn(x.double().numpy(), norm="ortho", axes=axes))
    for a, k in zip(axes, np.ravel(kept), strict=True):
        want = want.narrow(a, 0, int(k))
    return want


@st.composite
def signals(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A tensor of one to three axes, and one of these axes, short or long."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] = draw(lengths)
    return randn(*shape), axis


@few
@given(signals(), st.data())
def test_forward_is_scipys_orthonormal_dct(signal: tuple[Tensor, int], data: st.DataObject) -> None:
    x, axis = signal
    keep = data.draw(st.integers(1, x.shape[axis]))
    assert_close(dct.forward(x, axis, keep), scipys(x, axis, keep), rtol=0, atol=1e-12)


@few
@given(signals(), lengths)
def test_inverse_is_scipys_at_any_length(signal: tuple[Tensor, int], samples: int) -> None:
    """scipy cuts or pads the coefficients to `n`, and so do we."""
    x, axis = signal
    want = scipy.fft.idct(x.numpy(), type=2, norm="ortho", n=samples, axis=axis)
    assert_close(dct.inverse(x, axis, samples), torch.from_numpy(want), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((5, 3, 8, 6), {0: 2, 2: 8, 3: 1}), ((300, 2, 7, 301), {0: 9, -1: 301}), ((2, 257, 260), {-2: 200, 0: 1, -1: 3})],
)
def test_several_axes_at_once_are_one_after_the_other(shape: tuple[int, ...], kept: dict[int, int]) -> None:
    x, axes = randn(*shape), list(kept)
    low = dct.forward(x, axes, list(kept.values()))
    assert_close(low, scipys(x, axes, list(kept.values())))
    for samples in ([4] * len(axes), list(shape)[: len(axes)]):
        one_by_one = low
        for axis, n in zip(axes, samples, strict=True):
            one_by_one = dct.inverse(one_by_one, axis, n)
        assert_close(dct.inverse(low, axes, samples), one_by_one)


@pytest.mark.parametrize("shape", [(600, 500), (2, 1100, 301), (1, 2**18 + 1, 2)])
def test_nothing_is_lost_where_large_tensors_are_taken_apart(shape: tuple[int, ...]) -> None:
    x, axis = randn(*shape), 1
    low = dct.forward(x, axis, 400)
    assert_close(low, scipys(x, axis, 400))
    assert_close(dct.forward(dct.inverse(low, axis, x.shape[axis]), axis, 400), low)


@pytest.mark.parametrize("shape", [(12, 768), (3, 192, 768)])
def test_single_precision_is_exact_to_a_millionth(shape: tuple[int, ...]) -> None:
    x, axes = randn(*shape, dtype=torch.float32), list(range(len(shape)))
    low, want = dct.forward(x, axes, shape), scipys(x, axes, list(shape))
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
        lambda x: dct.forward(dct.inverse(x, 1, 270).square(), [0, 1], [2, 3]),
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
