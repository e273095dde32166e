"""Batches are a function of (seed, step): whoever asks, and however the work is divided."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.data.augment import crop_and_flip
from trainers.data.batches import Batches, eval_batches
from trainers.data.config import Augment
from trainers.data.sets import ImageSet
from trainers.inputs import Inputs
from zoo.errors import BadInputError

PLAIN, CROP_AND_FLIP = Augment(), Augment(crop=2, flip=True)


def image_set(samples: int, augment: Augment = PLAIN, size: int = 5) -> ImageSet:
    """Random images; the label of a sample is its number, the rows are in reverse order."""
    random = np.random.RandomState(1)
    images = random.randint(1, 256, (samples, size, size, 2), np.uint8)
    rows = np.arange(samples)[::-1]
    return ImageSet(images, rows, np.arange(samples), samples, (0.5, 0.4), (0.2, 0.1), augment=augment)


def images(batch: tuple[Inputs, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch whose inputs are one tensor."""
    assert isinstance(batch[0], Tensor)
    return batch[0], batch[1]


def pixels(x_BCHW: Tensor, data: ImageSet) -> np.ndarray:
    """Back to (B, H, W, C) in 0..255."""
    x_BHWC = x_BCHW.permute(0, 2, 3, 1).double()
    return ((x_BHWC * torch.tensor(data.std) + torch.tensor(data.mean)) * 255).round().numpy().astype(np.uint8)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 15), st.integers(0, 20))
def test_the_union_over_workers_and_parts_does_not_depend_on_their_number(
    world: int, parts: int, more: int, step: int
) -> None:
    data, size = image_set(50, CROP_AND_FLIP), world * parts + more
    x, y = images(Batches(data, size, seed=3).batch(step))
    workers = [Batches(data, size, 3, rank, world) for rank in range(world)]
    pieces = [images(worker.batch(step, part, parts)) for worker in workers for part in range(parts)]
    assert torch.equal(torch.cat([piece[0] for piece in pieces]), x)
    assert torch.equal(torch.cat([piece[1] for piece in pieces]), y)
    sizes = [len(piece[1]) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 40), st.integers(1, 12), st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1))
def test_an_epoch_has_every_sample_once_however_often_the_number_of_workers_changes(
    samples: int, size: int, legs: list[tuple[int, int]]
) -> None:
    """Each leg: so many workers, and the step (counted from where it began) at which it is cut off."""
    samples, seen, step = samples + size, [], 0
    data = image_set(samples)
    steps = Batches(data, size, seed=0).steps_per_epoch
    for world, length in [*legs, (1, steps)]:
        workers = [Batches(data, size, 0, rank, min(world, size)) for rank in range(min(world, size))]
        for _ in range(min(length, steps - step)):
            seen += [label for worker in workers for label in worker.batch(step)[1].tolist()]
            step += 1
    assert len(seen) == len(set(seen)) == samples - samples % size


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_an_epoch_has_every_sample_at_most_once_and_drops_less_than_a_batch(
    samples: int, size: int, epoch: int
) -> None:
    if size > samples:
        samples, size = size, samples
    batches = Batches(image_set(samples), size, seed=0)
    first = epoch * batches.steps_per_epoch
    labels = torch.cat([batches.batch(first + i)[1] for i in range(batches.steps_per_epoch)])
    assert len(labels.unique()) == len(labels) == samples - samples % size


def test_images_belong_to_their_labels_and_are_normalised() -> None:
    data = image_set(12)
    x, y = images(Batches(data, 12, seed=0).batch(0))
    assert (x.shape, x.dtype, y.dtype) == ((12, 2, 5, 5), torch.float32, torch.int64)
    assert (pixels(x, data) == data.images[data.rows[y.numpy()]]).all()


def test_a_new_object_continues_where_another_was_interrupted() -> None:
    data = image_set(20, CROP_AND_FLIP)
    steps = [Batches(data, 6, seed=1)] * 8
    straight = [images(batches.batch(step)) for step, batches in enumerate(steps)]
    resumed = Batches(data, 6, seed=1)
    for step in (7, 4, 5):
        x, y = images(resumed.batch(step))
        assert torch.equal(x, straight[step][0])
        assert torch.equal(y, straight[step][1])


def test_seeds_and_epochs_shuffle_differently() -> None:
    data = image_set(64)
    labels = [Batches(data, 64, seed).batch(step)[1] for seed in (0, 1, 1 << 32) for step in (0, 1)]
    assert len({tuple(order.tolist()) for order in labels}) == 6


def test_what_cannot_be_filled_or_cropped_is_refused() -> None:
    data = image_set(10)
    with pytest.raises(BadInputError, match="batch: 11 is more than the 10 training samples"):
        Batches(data, 11, seed=0)
    with pytest.raises(BadInputError, match=r"data\.augment\.crop: 5 .* less than the image size 5"):
        image_set(10, Augment(crop=5))


@given(st.integers(0, 3), st.data())
@settings(max_examples=50)
def test_crop_and_flip_is_padding_then_cutting_then_mirroring(pad: int, draw: st.DataObject) -> None:
    images = image_set(3).images
    corner = np.array(draw.draw(st.lists(st.tuples(*[st.integers(0, 2 * pad)] * 2), min_size=3, max_size=3)))
    flip = np.array(draw.draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    found = crop_and_flip(images, pad, corner, flip)
    for image, (top, left), mirrored, result in zip(images, corner, flip, found, strict=True):
        padded = np.zeros((5 + 2 * pad, 5 + 2 * pad, 2), np.uint8)
        padded[pad : pad + 5, pad : pad + 5] = image
        expected = padded[top : top + 5, left : left + 5]
        assert (result == (expected[:, ::-1] if mirrored else expected).transpose(2, 0, 1)).all()


def _windows(image: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    size, places = len(image), range(2 * pad + 1)
    cuts = {(top, left): padded[top : top + size, left : left + size] for top in places for left in places}
    straight = {cut.tobytes(): (*place, False) for place, cut in cuts.items()}
    return straight | {cut[:, ::-1].tobytes(): (*place, True) for place, cut in cuts.items()}


@pytest.mark.parametrize("flip", [True, False])
def test_augmented_images_are_windows_of_their_padded_source(flip: bool) -> None:
    data = image_set(40, Augment(crop=2, flip=flip))
    x, y = images(Batches(data, 40, seed=0).batch(0))
    seen = [
        _windows(data.images[data.rows[label]], 2)[image.tobytes()]
        for label, image in zip(y.tolist(), pixels(x, data), strict=True)
    ]
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))
    assert {mirrored for _, _, mirrored in seen} == ({True, False} if flip else {False})


@given(st.integers(1, 60), st.integers(2, 9), st.integers(1, 5))
def test_evaluation_sees_every_sample_once_in_equally_many_batches(samples: int, size: int, world: int) -> None:
    data = image_set(samples := max(samples, world))
    workers = [list(eval_batches(data, size, rank, world)) for rank in range(world)]
    everything = [batch for worker in workers for batch in worker]
    assert sorted(torch.cat([y for _, y in everything]).tolist()) == list(range(samples))
    assert len({len(worker) for worker in workers}) == 1
    assert max(len(y) for _, y in everything) <= size
    assert min(len(y) for _, y in everything) > 0


def test_evaluation_shows_images_as_they_are() -> None:
    data = image_set(7)
    for x, y in map(images, eval_batches(data, 3)):
        assert (pixels(x, data) == data.images[data.rows[y.numpy()]]).all()


def test_what_a_caller_does_to_a_batch_does_not_reach_the_data(tmp_path: Path) -> None:
    data = image_set(4)
    np.save(tmp_path / "images.npy", data.images)
    data = replace(data, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    before = data.images.copy(), data.labels.copy()
    for x, y in map(images, [Batches(data, 4, seed=0).batch(0), *eval_batches(data, 4)]):
        x.zero_()
        y.zero_()
    assert (data.images == before[0]).all()
    assert (data.labels == before[1]).all()
