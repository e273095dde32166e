"""Mean and standard deviation of the channels, from exact counts of the 256 values of a pixel."""

import numpy as np


def histogram(images_NHWC: np.ndarray) -> np.ndarray:
    """How often each value occurs in each channel, int64 of shape (C, 256)."""
    channels = range(images_NHWC.shape[-1])
    return np.stack([np.bincount(images_NHWC[..., c].ravel(), minlength=256) for c in channels])


def channel_statistics(histogram_CV: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units of 0..1."""
    value_V = np.arange(256) / 255
    count_C = histogram_CV.sum(1)
    mean_C = histogram_CV @ value_V / count_C
    variance_C = (histogram_CV * (value_V - mean_C[:, None]) ** 2).sum(1) / count_C
    std_C = np.maximum(np.sqrt(variance_C), 1 / 255)  # of a constant channel: one grey level, not 0
    return tuple(mean_C.tolist()), tuple(std_C.tolist())
