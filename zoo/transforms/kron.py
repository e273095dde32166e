"""Sums of Kronecker products, for many maps at once (WAVE, arXiv 2406.17503; WeiT, arXiv 2604.14769)."""

from torch import Tensor


def compose(scalers: Tensor, templates: Tensor) -> Tensor:
    """`W[...] = sum_n kron(scalers[..., n], templates[n])`: block (a, b) of W is `sum_n scalers[a, b, n] templates[n]`.

    Args:
        scalers: `(..., A, B, N)`, one number per block and template.
        templates: `(N, U, V)`, shared by all leading axes; `(N, U, V, *kernel)` for convolutions, whose kernels
            belong to the templates: `W[a U + u, b V + v, k] = sum_n scalers[a, b, n] templates[n, u, v, k]`.

    Returns:
        `(..., A*U, B*V, *kernel)`, by one matrix product and one permutation for all leading axes together.
    """
    *batch, rows, columns, count = scalers.shape
    _, height, width, *kernel = templates.shape
    blocks = scalers.reshape(-1, count) @ templates.reshape(count, -1)
    blocks = blocks.view(*batch, rows, columns, height, -1).transpose(-3, -2)
    return blocks.reshape(*batch, rows * height, columns * width, *kernel)
