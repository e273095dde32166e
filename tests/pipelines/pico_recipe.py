"""The smallest recipe: an ancestor, to which tests add what they are about."""

PICO = """\
name: pico
family: vit
config: {img_size: 8, patch_size: 4, in_chans: 1, num_classes: 10}
data: {kind: digits}
stages:
  ancestor:
    run: pretrain
    size: {depth: 2, width: 32, heads: 2}
    train: {steps: 4, batch: 32}
"""
WEIT = """\
  weit:
    run: weit
    size: {depth: 2, width: 32, heads: 2}
    method: {name: kronecker, tile: 16}
"""
FRONT = """\
  front:
    run: condense
    weights: {stage: ancestor}
"""
