"""Everything random is a function of (seed, purpose, number): nothing to save, the same on every worker."""

import hashlib

import torch


def derive(seed: int, purpose: str, number: int) -> int:
    """A seed of 32 bits: torch's CPU generator looks at no more, so everything is mixed into these."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A generator of its own for each purpose and number."""
    return torch.Generator().manual_seed(derive(seed, purpose, number))
