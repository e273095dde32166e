"""The wavelet transform along an axis, and resizing with it."""

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
        wanted = [torch.from_numpy(band) for band in pywt.dwt(x.double().numpy(), name, "periodization", axis=1)]
        for got, want in zip(dwt.split(x, 1, name), wanted, strict=True):
            assert got.dtype == dtype
            assert relative_error(got, want) < bound, name
        back = torch.from_numpy(pywt.idwt(wanted[0].numpy(), wanted[1].numpy(), name, "periodization", axis=1))
        assert relative_error(dwt.merge(wanted[0].to(dtype), wanted[1].to(dtype), 1, name), back) < bound, name


@few
@given(signals(), exact)
def test_what_was_split_merges_again(signal: tuple[Tensor, int], wavelet: str) -> None:
    x, axis = signal
    x = torch.cat((x, -2 * x), axis)
    assert_close(dwt.merge(*dwt.split(x, axis, wavelet), axis, wavelet), x)


@few
@given(signals(), wavelets, st.integers(0, 3))
def test_down_keeps_the_approximation_of_every_level_and_up_adds_zero_details(
    signal: tuple[Tensor, int], wavelet: str, levels: int
) -> None:
    x, axis = signal
    low = long = torch.cat([x] * 2**levels, axis)
    high = x
    for _ in range(levels):
        low, _ = dwt.split(low, axis, wavelet)
        high = dwt.merge(high, torch.zeros_like(high), axis, wavelet)
    assert_close(dwt.down(long, axis, levels, wavelet), low)
    assert_close(dwt.up(x, axis, levels, wavelet), high)


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
    assert_close(dwt.resize(dwt.resize(x, 1, 192, wavelet), 1, 48, wavelet), x, rtol=0, atol=1e-5)


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
    transforms: list[Callable[[Tensor], Tensor | tuple[Tensor, ...]]] = [
        lambda x: dwt.split(x, 1, wavelet),
        lambda x: dwt.merge(x, x.square(), 0, wavelet),
        lambda x: dwt.resize(x, 0, 3, wavelet),
        lambda x: dwt.resize(x, 1, 21, wavelet),
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


@few
@given(signals(), lengths, wavelets)
def test_resize_gives_the_length_also_on_the_meta_device(signal: tuple[Tensor, int], length: int, wavelet: str) -> None:
    x, axis = signal
    want = list(x.shape)
    want[axis] = length
    assert list(dwt.resize(x, axis, length, wavelet).shape) == want
    assert list(dwt.resize(x.to("meta"), axis, length, wavelet).shape) == want


@few
@given(lengths, lengths, wavelets)
def test_a_longer_axis_holds_the_first_entries_of_the_next_dyadic_one(n: int, more: int, wavelet: str) -> None:
    x, length = randn(2, n), n + more
    whole = dwt.up(x, 1, dwt.levels(n, length), wavelet)
    longer = dwt.resize(x, 1, length, wavelet)
    assert_close(longer, whole[:, :length])
    assert longer.untyped_storage().nbytes() == longer.nbytes  # not a view that holds on to the rest


@few
@given(lengths, lengths, wavelets)
def test_a_shorter_axis_continues_as_its_mirror_image(length: int, more: int, wavelet: str) -> None:
    n = length + more
    x, levels = randn(n, 2), -dwt.levels(n, length)
    mirrored = torch.cat((x, x.flip(0)))[: length * 2**levels]
    assert_close(dwt.resize(x, 0, length, wavelet), dwt.down(mirrored, 0, levels, wavelet))


@few
@given(signals(), wavelets)
def test_the_same_length_is_the_same_tensor(signal: tuple[Tensor, int], wavelet: str) -> None:
    x, axis = signal
    assert dwt.resize(x, axis, x.shape[axis], wavelet) is x


def test_haar_halves_by_sums_of_pairs_and_doubles_by_repeating() -> None:
    x = torch.tensor([1.0, 3.0, 5.0, 7.0])
    assert_close(dwt.resize(x, 0, 2, "haar"), torch.tensor([4.0, 12.0]) / 2**0.5)
    assert_close(dwt.resize(x, 0, 7, "haar"), torch.tensor([1.0, 1, 3, 3, 5, 5, 7]) / 2**0.5)


def test_inputs_stay_as_they_are() -> None:
    x = randn(4, 6)
    before = x.clone()
    dwt.merge(*dwt.split(x, 0, "db2"), 0, "db2")
    dwt.merge(x, x, 1, "db2")
    for length in (3, 4, 5, 12):
        dwt.resize(x, 1, length, "db2")
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["mexh", "db39", "HAAR", "wavy", ""])
def test_an_unknown_wavelet_is_refused_with_the_legal_ones(name: str) -> None:
    with pytest.raises(BadInputError, match=r"wavelet '.*haar, db1 \.\.\. db38, sym2 \.\.\. sym20, coif1 .*dmey"):
        dwt.check_wavelet(name)
    with pytest.raises(BadInputError, match="wavelet"):
        dwt.resize(torch.ones(4), 0, 2, name)


def test_every_discrete_wavelet_is_legal() -> None:
    assert [dwt.check_wavelet(name) for name in NAMES] == NAMES
