"""A ViT of a few thousand parameters on a few digits: what the trainers' tests train."""

from trainers.data.config import Digits
from trainers.dataset import Dataset
from zoo import Architecture, Kronecker, Learngene, Size
from zoo.families import architecture

PICO = Size(depth=2, width=32, heads=2, mlp=64)
CONFIG = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10}
METHOD = Kronecker(tile=16, templates=3)


def pico_arch(size: Size = PICO) -> Architecture:
    return architecture("vit", CONFIG, size)


def pico_learngene(seed: int = 0) -> Learngene:
    arch = pico_arch()
    return Learngene(METHOD, arch, METHOD.start(arch, seed))


def pico_data() -> Dataset:
    return Dataset.open(Digits(limit=256, validation=0.25), held_out="validation")
