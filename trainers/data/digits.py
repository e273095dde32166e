"""The default data set: scikit-learn's digits, in the form that shards are decoded to."""

from pathlib import Path

import numpy as np

from trainers.data.config import Part
from trainers.data.split import held_out
from trainers.data.statistics import channel_statistics, histogram
from zoo.files import write_json

_TEST_SHARE = 0.2


def write_digits(part: Part, limit: int | None, folder: Path) -> None:
    """Write `images.npy`, `labels.npy` and `meta.json`; grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    pixels, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    chosen = held_out(labels, _TEST_SHARE) == (part == "test")
    images = np.round(pixels[chosen][:limit] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels[chosen][:limit].astype(np.int64))
    mean, std = channel_statistics(histogram(images))
    write_json(folder / "meta.json", {"mean": mean, "std": std, "bad": 0, "lost": 0, "damaged": [], "first": []})
