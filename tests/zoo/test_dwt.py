"""The approximations of the wavelet transform along an axis."""

from collections.abc import Callable

import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few

from zoo.errors import BadInputError
from zoo.transforms import dwt

NAMES: list[str] = pywt.wavelist(kind="discrete")  # pyright: ignore[reportAttributeAccessIssue]

wavelets = st.sampled_from(NAMES)
exact = st.sampled_from([name for name in NAMES if name != "dmey"])  # dmey is a truncated filter
lengths = st.integers(1, 12)


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def relative_error(got: Tensor, want: Tensor) -> float:
    return ((got.double() - want.double()).abs().max() / want.double().abs().max()).item()


@st.composite
def signals(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A tensor of one to three axes, and one of these axes."""
    shape = draw(st.lists(lengths, min_size=1, max_size=3))
    return randn(*shape), draw(st.integers(-len(shape), len(shape) - 1))


@pytest.mark.parametrize("n", [2, 6, 96], ids=lambda n: f"{n}_entries")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
def test_every_wavelet_agrees_with_pywavelets_even_where_its_filter_wraps_around(
    n: int, dtype: torch.dtype, bound: float
) -> None:
    x = randn(3, n, 2, dtype=dtype)
    for name in NAMES:
        low, _ = pywt.dwt(x.double().numpy(), name, "periodization", axis=1)
        got = dwt.down(x, 1, 1, name)
        assert got.dtype == dtype
        assert relative_error(got, torch.from_numpy(low)) < bound, name
        long = torch.from_numpy(pywt.idwt(x.double().numpy(), None, name, "periodization", axis=1))
        assert relative_error(dwt.up(x, 1, 1, name), long) < bound, name


@few
@given(signals(), wavelets, st.integers(0, 3))
def test_any_axis_may_be_transformed_also_on_the_meta_device(
    signal: tuple[Tensor, int], wavelet: str, levels: int
) -> None:
    x, axis = signal
    longer = dwt.up(x, axis, levels, wavelet)
    assert_close(longer.movedim(axis, 0), dwt.up(x.movedim(axis, 0), 0, levels, wavelet))
    assert dwt.up(x.to("meta"), axis, levels, wavelet).shape == longer.shape
    assert dwt.down(longer.to("meta"), axis, levels, wavelet).shape == x.shape


@pytest.mark.parametrize("wavelet", NAMES)
def test_up_then_down_is_the_identity(wavelet: str) -> None:
    """PyWavelets' filters hold to about 1e-10, but for `dmey`, which is cut off in time."""
    bound = 2e-2 if wavelet == "dmey" else 1e-9
    for n, levels in ((1, 3), (3, 2), (12, 1), (96, 1)):
        x = randn(2, n)
        assert relative_error(dwt.down(dwt.up(x, 1, levels, wavelet), 1, levels, wavelet), x) < bound


@pytest.mark.parametrize("wavelet", [name for name in NAMES if name != "dmey"])
def test_up_then_down_is_the_identity_to_1e_5_in_single_precision(wavelet: str) -> None:
    x = randn(2, 48, dtype=torch.float32)
    assert_close(dwt.down(dwt.up(x, 1, 2, wavelet), 1, 2, wavelet), x, rtol=0, atol=1e-5)


@few
@given(exact, lengths, st.integers(0, 3))
def test_a_level_down_multiplies_constants_by_the_root_of_two_and_a_level_up_divides_them_by_it(
    wavelet: str, n: int, levels: int
) -> None:
    """The method's `amplitude` scaling relies on it."""
    ones, gain = torch.ones(n * 2**levels, dtype=torch.float64), 2 ** (levels / 2)
    assert_close(dwt.down(ones, 0, levels, wavelet), gain * ones[:n])
    assert_close(dwt.up(ones[:n], 0, levels, wavelet), ones / gain)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "coif2", "bior4.4"])
def test_all_transforms_are_differentiable_twice(wavelet: str) -> None:
    transforms: list[Callable[[Tensor], Tensor]] = [
        lambda x: dwt.down(x, 1, 2, wavelet),
        lambda x: dwt.up(x, 0, 2, wavelet),
    ]
    for transform in transforms:
        x = randn(5, 4).requires_grad_()
        assert torch.autograd.gradcheck(transform, x)
        assert torch.autograd.gradgradcheck(transform, x)


@few
@given(lengths, lengths)
def test_levels_are_the_fewest_that_reach_the_length(n: int, m: int) -> None:
    levels = dwt.levels(n, m)
    assert dwt.levels(m, n) == -levels
    short, long = sorted((n, m))
    assert short * 2 ** abs(levels) >= long
    assert levels == 0 if n == m else short * 2 ** (abs(levels) - 1) < long
    assert levels == 0 or (levels > 0) == (m > n)


def test_haar_halves_by_sums_of_pairs_and_doubles_by_repeating() -> None:
    x = torch.tensor([1.0, 3.0, 5.0, 7.0])
    assert_close(dwt.down(x, 0, 1, "haar"), torch.tensor([4.0, 12.0]) / 2**0.5)
    assert_close(dwt.up(x, 0, 1, "haar"), torch.tensor([1.0, 1, 3, 3, 5, 5, 7, 7]) / 2**0.5)


def test_inputs_stay_as_they_are() -> None:
    x = randn(4, 6)
    before = x.clone()
    dwt.down(x, 0, 2, "db2")
    dwt.up(x, 1, 2, "db2")
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["mexh", "db39", "HAAR", "wavy", ""])
def test_an_unknown_wavelet_is_refused_with_the_legal_ones(name: str) -> None:
    with pytest.raises(BadInputError, match=r"wavelet '.*haar, db1 \.\.\. db38, sym2 \.\.\. sym20, coif1 .*dmey"):
        dwt.check_wavelet(name)
    with pytest.raises(BadInputError, match="wavelet"):
        dwt.down(torch.ones(4), 0, 1, name)


def test_every_discrete_wavelet_is_legal() -> None:
    assert [dwt.check_wavelet(name) for name in NAMES] == NAMES
