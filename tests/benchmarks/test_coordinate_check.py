"""The coordinate check tells a scaled optimizer from one that is not."""

import pytest

from benchmarks.coordinate_check import LIMIT, NARROW, sizes, spreads, trained


@pytest.mark.parametrize("family", NARROW)
def test_activations_stay_flat_only_if_the_optimizer_is_scaled(family: str) -> None:
    base = trained(NARROW[family])
    ours, control = (max(spreads([sizes(base, k, scaled=scaled) for k in (1, 8)]).values()) for scaled in (True, False))
    assert ours < LIMIT
    assert control > LIMIT
