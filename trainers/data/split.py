"""Sets a share of samples aside: always the same ones, with every class in proportion."""

import numpy as np

from trainers.data.config import Split
from zoo.errors import BadInputError


def rows_of(split: Split, labels: np.ndarray, share: float) -> np.ndarray:
    """Which samples of a part belong to a split, `(n,)`: of `test` all; `validation` is cut from `train`.

    Raises `BadInputError` if none is left for `train` or `validation`.
    """
    rows = np.arange(len(labels))
    if split == "test":
        return rows
    chosen = rows[held_out(labels, share) == (split == "validation")]
    if not len(chosen):
        raise BadInputError(f"data.validation: the share {share} of {len(labels)} training samples is none")
    return chosen


def held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """A mask over the samples; floor(share * N) of them are set aside.

    The samples are shuffled (data may come in cycles), ordered by class, and every 1/share-th is taken.
    `RandomState` is the numpy generator whose stream never changes.
    """
    shuffled = np.random.RandomState(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    quota = np.floor(np.arange(len(labels) + 1) * share)
    mask = np.zeros(len(labels), bool)
    mask[by_class[quota[1:] > quota[:-1]]] = True
    return mask
