"""Models are fed one tensor or tensors by name, plain or through a learngene."""

from types import SimpleNamespace

import torch
from pico import pico_arch, pico_learngene
from pico_text import tiny_arch, tiny_learngene
from torch import Tensor, nn

from trainers.inputs import call, to_device
from trainers.parametrization import Composed, Plain

IDS = torch.arange(12).view(2, 6)


def test_a_tensor_is_an_argument_and_a_dictionary_is_named_arguments() -> None:
    def model(x: Tensor, scale: Tensor | None = None) -> Tensor:
        return x if scale is None else x * scale

    two = torch.tensor([2.0])
    assert torch.equal(call(model, two), two)
    assert torch.equal(call(model, {"scale": two, "x": two}), two * two)


def test_of_an_output_with_logits_the_logits_are_taken() -> None:
    logits = torch.ones(2, 3)
    assert call(lambda x: SimpleNamespace(logits=logits, loss=None), torch.zeros(1)) is logits


def test_transformers_models_give_their_logits() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)).eval()
    assert call(model, {"input_ids": IDS}).shape == (2, 6, 20)


def test_every_tensor_of_the_inputs_is_moved() -> None:
    meta = torch.device("meta")
    moved = to_device({"a": IDS, "b": IDS}, meta)
    assert isinstance(moved, dict)
    assert {name: tensor.device for name, tensor in moved.items()} == {"a": meta, "b": meta}
    single = to_device(IDS, meta)
    assert isinstance(single, Tensor)
    assert single.device == meta


def test_a_learngene_computes_what_its_model_computes_from_named_inputs() -> None:
    learngene = tiny_learngene()
    composed = Composed(learngene).eval()
    plain = Plain(tiny_arch(), learngene.expand(learngene.source.size)).eval()
    torch.testing.assert_close(composed({"input_ids": IDS}), plain({"input_ids": IDS}))


def test_gradients_reach_every_tensor_of_a_learngene_from_named_inputs() -> None:
    composed = Composed(tiny_learngene())
    composed({"input_ids": IDS}).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in composed.parameters())


def test_dropout_of_a_learngenes_model_is_off_in_evaluation_and_on_in_training() -> None:
    composed = Composed(tiny_learngene(dropout=0.5))
    for training in (True, False, True):
        composed.train(training)
        twice = [composed({"input_ids": IDS}) for _ in range(2)]
        assert torch.equal(*twice) != training


def test_both_parametrizations_of_images_take_a_tensor() -> None:
    x = torch.randn(3, 1, 8, 8)
    modules: list[nn.Module] = [Plain(pico_arch()), Composed(pico_learngene())]
    assert [module(x).shape for module in modules] == [(3, 10)] * 2
