"""The loss on learned positions alone, against the plain one on all logits."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from spectrum_ft.tuning.applying import apply_plan
from spectrum_ft.tuning.losses import IGNORED, held_out_loss, learned_positions, summed_loss
from tiny_models import plan_of, tiny_config

KINDS = ("llama", "llama-tied", "gpt2", "mixtral", "gemma2", "cohere", "granite")


def fresh(kind: str, **changed: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Eager attention, so that padded and packed rows are masked in the same arithmetic.
        return AutoModelForCausalLM.from_config(
            tiny_config(kind, **changed), attn_implementation="eager"
        )


def rows(lengths: tuple[int, ...], seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Random tokens and labels; the first half of each row is not learned."""
    chance = torch.Generator().manual_seed(seed)
    made = []
    for length in lengths:
        tokens = torch.randint(3, 300, (length,), generator=chance)
        labels = tokens.clone()
        labels[: length // 2] = IGNORED
        made.append((tokens, labels))
    return made


def padded(examples: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    pad = nn.utils.rnn.pad_sequence
    tokens, labels = ([example[i] for example in examples] for i in range(2))
    return {
        "input_ids": pad(tokens, batch_first=True, padding_value=0),
        "labels": pad(labels, batch_first=True, padding_value=IGNORED),
        "attention_mask": pad([torch.ones_like(t) for t in tokens], batch_first=True),
    }


def packed(examples: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The examples in one row; positions start anew, and no first token is learned."""
    labels = [torch.cat([torch.tensor([IGNORED]), label[1:]]) for _, label in examples]
    return {
        "input_ids": torch.cat([tokens for tokens, _ in examples])[None],
        "labels": torch.cat(labels)[None],
        "position_ids": torch.cat([torch.arange(len(tokens)) for tokens, _ in examples])[None],
    }


def plain_loss(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of all logits with the labels shifted, as textbooks write it."""
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    logits = model(**rest, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten(), reduction="sum"
    )


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same_loss_and_gradients(model: Any, inputs: Mapping[str, Tensor]) -> None:
    expected = plain_loss(model, inputs)
    wanted = gradients(model, expected)
    loss, learned = summed_loss(model, model.get_output_embeddings(), inputs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert learned == int((inputs["labels"][:, 1:] != IGNORED).sum())
    found = gradients(model, loss)
    assert set(found) == set(wanted)
    for name, gradient in wanted.items():
        # Sums in float32 in another order: 1e-5 of the largest entry.
        torch.testing.assert_close(
            found[name], gradient, rtol=0, atol=1e-5 * gradient.abs().max().item() + 1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_all_logits_and_so_are_its_gradients(kind: str) -> None:
    assert_same_loss_and_gradients(fresh(kind), padded(rows((9, 4, 12))))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "granite"])
def test_so_it_is_for_packed_rows(kind: str) -> None:
    assert_same_loss_and_gradients(fresh(kind), packed(rows((9, 4, 12))))


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("gemma2", {"final_logit_softcapping": None}),
        ("cohere", {"logit_scale": 1.0}),
        ("granite", {"logits_scaling": 1.0}),
    ],
)
def test_what_a_model_does_to_its_logits_counts(kind: str, plain: dict[str, Any]) -> None:
    # That the comparison above is worth something: the tiny models' caps and scales matter.
    inputs = padded(rows((9, 4, 12)))
    losses = [plain_loss(fresh(kind, **changed), inputs).item() for changed in ({}, plain)]
    assert abs(losses[0] / losses[1] - 1) > 1e-3


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_packing_and_padding_give_the_same_loss(kind: str) -> None:
    model, examples = fresh(kind), rows((9, 4, 12))
    head = model.get_output_embeddings()
    model.eval()
    with torch.no_grad():
        apart = sum(summed_loss(model, head, padded([one]))[0].item() for one in examples)
        assert summed_loss(model, head, padded(examples))[0].item() == pytest.approx(apart, 1e-6)
        assert summed_loss(model, head, packed(examples))[0].item() == pytest.approx(apart, 1e-6)


def test_only_learned_positions_go_through_the_head() -> None:
    model, inputs = fresh("llama"), padded(rows((9, 4, 12)))
    seen = []
    model.lm_head.register_forward_hook(lambda module, given, made: seen.append(made.shape))
    _, learned = summed_loss(model, model.lm_head, inputs)
    assert seen == [(1, learned, 300)]


def test_the_head_is_left_as_it_was_even_after_an_error() -> None:
    model, inputs = fresh("llama"), padded(rows((9, 4)))
    summed_loss(model, model.lm_head, inputs)
    with pytest.raises(IndexError):
        summed_loss(model, model.lm_head, {**inputs, "input_ids": inputs["input_ids"] + 300})
    assert not model.lm_head._forward_pre_hooks
    assert model(input_ids=inputs["input_ids"]).logits.shape == (2, 9, 300)


def test_nothing_learned_is_a_loss_of_zero_with_no_tokens() -> None:
    model, inputs = fresh("llama"), padded(rows((9, 4)))
    inputs["labels"] = torch.full_like(inputs["labels"], IGNORED)
    loss, learned = summed_loss(model, model.lm_head, inputs)
    assert (loss.item(), learned) == (0.0, 0)


def test_a_label_on_the_first_token_is_not_learned() -> None:
    labels = torch.tensor([[5, IGNORED, 6, 7], [IGNORED, 8, IGNORED, IGNORED]])
    assert learned_positions(labels).tolist() == [[False, True, True], [True, False, False]]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_head_with_an_adapter_is_scored_through_it() -> None:
    applied = apply_plan(fresh("llama"), plan_of(adapted=["lm_head.weight"]))
    with torch.no_grad():
        for name, parameter in applied.adapters.items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator()))
    inputs = padded(rows((9, 4, 12)))
    expected = plain_loss(applied.model, inputs).item()
    loss, _ = summed_loss(applied.model, applied.base.get_output_embeddings(), inputs)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def batches(size: int) -> list[dict[str, Tensor]]:
    examples = rows((9, 4, 12, 7, 5, 11, 6), seed=3)
    return [padded(examples[i : i + size]) for i in range(0, len(examples), size)]


def test_the_held_out_loss_is_the_mean_over_tokens_whatever_the_batches() -> None:
    model = fresh("llama")
    head = model.get_output_embeddings()
    one = held_out_loss(model, head, batches(1))
    total = sum(plain_loss(model, batch).item() for batch in batches(1))
    count = sum(int(learned_positions(batch["labels"]).sum()) for batch in batches(1))
    assert one == pytest.approx(total / count, rel=1e-6)
    for size in (2, 3, 7):
        assert held_out_loss(model, head, batches(size)) == pytest.approx(one, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_the_held_out_loss_draws_nothing_at_random_and_leaves_modes_alone() -> None:
    plan = plan_of("model.norm.weight", adapted=["model.layers.0.mlp.up_proj.weight"], dropout=0.5)
    applied = apply_plan(fresh("llama", attention_dropout=0.5), plan)
    head = applied.base.get_output_embeddings()
    applied.model.train()
    applied.base.model.layers[1].eval()  # as somebody might have it
    modes = [module.training for module in applied.model.modules()]
    state = torch.random.get_rng_state()
    first = held_out_loss(applied.model, head, batches(2))
    assert held_out_loss(applied.model, head, batches(2)) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [module.training for module in applied.model.modules()] == modes
    with pytest.raises(KeyError):
        held_out_loss(applied.model, head, [{"input_ids": torch.ones(1, 2)}])
    assert [module.training for module in applied.model.modules()] == modes
    assert all(parameter.grad is None for parameter in applied.model.parameters())
