"""The coordinate check tells a scaled optimizer from one that is not."""

import pytest

from benchmarks.coordinate_check import LIMIT, NARROW, sizes, widest_spread


@pytest.mark.parametrize("family", NARROW)
def test_activations_stay_flat_only_if_the_optimizer_is_scaled(family: str) -> None:
    scaled, unscaled = (
        widest_spread([sizes(NARROW[family], k, scaled=scaled) for k in (1, 8)]) for scaled in (True, False)
    )
    assert scaled < LIMIT
    assert unscaled > 1.3 * scaled
