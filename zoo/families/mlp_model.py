"""A multilayer perceptron for classification: maps, biases and ReLU, nothing else."""

from torch import Tensor, nn
from torch.nn.functional import relu


class Perceptron(nn.Module):
    """`features -> width`, then `depth` maps `width -> width`, each followed by ReLU, then `width -> classes`.

    Maps before a ReLU start with variance `2 / inputs` (He et al., arXiv 1502.01852), the last one with `1 / inputs`,
    biases at zero.
    """

    def __init__(self, features: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.input = nn.Linear(features, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, classes)
        for layer in (self.input, *self.layers, self.head):
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is self.head else "relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, classes)` of vectors `(B, features)` or images `(B, channels, height, width)`."""
        x = relu(self.input(x.flatten(1)))
        for layer in self.layers:
            x = relu(layer(x))
        return self.head(x)
