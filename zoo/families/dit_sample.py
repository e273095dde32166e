"""Pictures from a DiT: DDIM (Song et al., arXiv 2010.02502) with classifier-free guidance (Ho & Salimans, 2207.12598).

The steps are those of DDPM (Ho et al., arXiv 2006.11239): betas from 1e-4 to 0.02 in 1000 linear steps.
"""

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 1000


def signal() -> Tensor:
    """How much of an image's power is left after each step: the products of `1 - beta`, `(STEPS,)` float32."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64), 0).float()


@torch.no_grad()
def sample(
    model: Callable[..., Tensor], noise: Tensor, y: Tensor, *, null: int, steps: int = 50, guidance: float = 4.0
) -> Tensor:
    """Images `(B, C, H, W)`, values as the model was trained on, from noise of that shape and classes `y` `(B,)`.

    Every step removes the predicted noise and adds it again for an earlier step (DDIM, equation 12 without randomness);
    `guidance` is the weight of a class against the class `null` (1: no guidance).
    """
    shares = signal().to(noise.device)
    at = torch.linspace(STEPS - 1, 0, steps, device=noise.device).round().long()
    before = torch.cat([shares[at[1:]], shares.new_ones(1)])
    labels = torch.cat([y, torch.full_like(y, null)])
    x = noise
    for t, share, next_share in zip(at, shares[at], before, strict=True):
        with_class, without = model(x=torch.cat([x, x]), t=t.expand(len(labels)), y=labels).chunk(2)
        predicted = without + guidance * (with_class - without)
        image = (x - (1 - share).sqrt() * predicted) / share.sqrt()
        x = next_share.sqrt() * image + (1 - next_share).sqrt() * predicted
    return x
