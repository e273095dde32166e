"""Augmentation of images.

B samples, C channels, H x W pixels.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def crop_and_flip(x_BHWC: np.ndarray, pad: int, corner_B2: np.ndarray, flip_B: np.ndarray) -> np.ndarray:
    """Pad each image with `pad` zeros on all sides, cut (C, H, W) at `corner`, mirror where `flip` says."""
    height, width = x_BHWC.shape[1:3]
    padded = np.pad(x_BHWC, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    x_BCHW = windows[np.arange(len(x_BHWC)), corner_B2[:, 0], corner_B2[:, 1]]
    x_BCHW[flip_B] = x_BCHW[flip_B, :, :, ::-1]
    return x_BCHW
