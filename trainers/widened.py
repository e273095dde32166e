"""A widened model and its optimizer's state (mu-pscaling, arXiv 2602.10545)."""

from functools import partial

from trainers.engines.base import OptimizerState
from trainers.parametrization import Plain
from trainers.scaled import widened_states
from zoo import Checkpoint, Size, condense, instantiate
from zoo.methods.mupscaling import MuPScaling, named_multipliers, tiled

PREFIX = "model."
"""Where the real model stands in a `Plain`."""


class Widened(Plain):
    """The model that `method` makes of a narrow one; its optimizer is scaled so that both would train alike."""

    def __init__(self, narrow: Checkpoint, size: Size, method: MuPScaling) -> None:
        """Raises `BadInputError` for a size that is no whole multiple."""
        wide = instantiate(condense(narrow, method), size)
        super().__init__(wide.arch, wide.weights)
        self.narrow = narrow.arch
        named = named_multipliers(self.narrow, self.arch)
        self.multipliers = {PREFIX + name: m for name, m in named.items()}

    def states(self, narrow: OptimizerState) -> OptimizerState:
        """The state of the narrow model's optimizer as this model's."""
        bare = {name.removeprefix(PREFIX): dict(fields) for name, fields in narrow}
        multipliers = {name.removeprefix(PREFIX): m for name, m in self.multipliers.items()}
        tile = partial(tiled, source=self.narrow, target=self.arch)
        return ((PREFIX + name, fields) for name, fields in widened_states(bare, multipliers, tile).items())
