"""The objective of denoising diffusion models (Ho et al., DDPM, arXiv 2006.11239), conditional on classes.

B samples, C channels, H x W pixels.
"""

from collections.abc import Mapping
from zlib import crc32

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from trainers.inputs import Forward, Inputs
from trainers.objectives import Objective
from zoo.families.dit_sample import STEPS, signal

DROPPED = 0.1
"""The share of training samples that lose their class (for classifier-free guidance, arXiv 2207.12598)."""


class Denoising(Objective):
    """Mean squared error of the predicted noise (equation 14), betas from 1e-4 to 0.02 in 1000 linear steps.

    Inputs are images (B, C, H, W) and classes (B,). The model is fed `{"x": noised images, "t": steps in 0..999, "y":
    classes}`, a dropped class being number `classes`, and returns the noise (B, C, H, W).
    """

    def __init__(self, classes: int) -> None:
        """`classes` is also the number of the null class."""
        self.null = classes
        self._signal = signal()

    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """Steps, noise and dropped classes come from torch's global generator: the loop seeds it in every step."""
        assert isinstance(x, Tensor)
        t = torch.randint(STEPS, y.shape, device=x.device)
        noise = torch.randn_like(x)
        kept = torch.where(torch.rand(y.shape, device=x.device) < DROPPED, self.null, y)
        return mse_loss(forward({"x": self.noised(x, t, noise), "t": t, "y": kept}).float(), noise)

    def noised(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The images after step `t`: `sqrt(abar_t) x + sqrt(1 - abar_t) noise` (equation 4, counted from 0)."""
        kept = self._signal.to(x.device)[t].view(-1, *[1] * (x.dim() - 1))
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """Step and noise of a sample follow from its pixels: the same for every model, batch and number of workers."""
        assert isinstance(x, Tensor)
        t, noise = (tensor.to(x.device) for tensor in _drawn_from(x.cpu()))
        error = forward({"x": self.noised(x, t, noise), "t": t, "y": y}).float() - noise
        return {"loss": error.square().mean(dim=(1, 2, 3)).sum(), "count": y.new_tensor(len(y))}

    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """`eval_loss`: the mean over samples."""
        return {"eval_loss": sums["loss"] / sums["count"]}


def _drawn_from(x: Tensor) -> tuple[Tensor, Tensor]:
    t, noise = x.new_empty(len(x), dtype=torch.long), torch.empty_like(x)
    for i, image in enumerate(x):
        random = torch.Generator().manual_seed(crc32(image.numpy().tobytes()))
        t[i] = torch.randint(STEPS, (), generator=random)
        noise[i] = torch.randn(image.shape, generator=random)
    return t, noise
