"""Exports select in another tool exactly what the plan says, by that tool's own way of matching.

Each rule is said again here in a line, with the place where the tool has it; PEFT is the real one.
"""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import spectrum_ft
from scans import one_kind, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.exports import EXPORTS, export_plan, left_out
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import parse_plan, plan_to_yaml
from spectrum_ft.records.plans import Base, LoraSettings, Plan
from spectrum_ft.tuning.loaded_plans import loaded_plan
from tiny_models import plan_of, tiny_config, write_tiny

KINDS = ("self_attn.q_proj", "mlp.gate_proj", "mlp.up_proj")
CHOSEN = tuple(
    f"model.layers.{layer}.{kind}.weight" for layer in (1, 10, 13, 19) for kind in KINDS[:2]
)


@pytest.fixture(scope="module")
def model() -> Any:
    """A Llama of twenty blocks without weights, and beside its own a matrix `up_gate_proj`."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(tiny_config("llama", num_hidden_layers=20))
        for block in made.model.layers:
            block.mlp.up_gate_proj = torch.nn.Linear(64, 96, bias=False)
            block.mlp.gate_proj_weight = torch.nn.Linear(64, 96, bias=False)
    return made


@pytest.fixture(scope="module")
def names(model: Any) -> list[str]:
    """What its parameters are called."""
    return [name for name, _ in model.named_parameters()]


def adapters_of(*matrices: str, base: Base = "as-is", alpha: float = 8.0) -> Plan:
    plan = plan_of(adapted=matrices, base=base, dropout=0.05)
    assert plan.lora is not None
    lora = LoraSettings(matrices=matrices, r=4, alpha=alpha, dropout=0.05)
    return Plan(model=plan.model, train=(), lora=lora, base=base, policy=plan.policy)


def axolotl_trains(text: str, names: list[str]) -> set[str]:
    """axolotl/utils/freeze.py, 0.18: freeze_layers_except and LayerNamePattern."""
    patterns = yaml.safe_load(text)["unfrozen_parameters"]
    assert not any(re.match(r"^(.+)\[([0-9]*)(?::([0-9]*))?\]$", p) for p in patterns)  # no range
    compiled = [re.compile(re.sub(r"\.(?!\+)", "\\.", pattern)) for pattern in patterns]
    return {name for name in names if any(pattern.match(name) for pattern in compiled)}


def swift_trains(text: str, names: list[str]) -> set[str]:
    """swift/utils/transformers_utils.py, 4.6: freeze_parameters(ratio), activate_parameters."""
    table = yaml.safe_load(text)
    assert table["freeze_parameters_ratio"] == 1
    assert table["tuner_type"] == "full"
    assert all(not str(value).startswith("-") for value in table.values())  # they are arguments
    return {name for name in names if re.compile(table["trainable_parameters_regex"]).search(name)}


@pytest.mark.parametrize(
    ("format", "trains"), [("axolotl", axolotl_trains), ("ms-swift", swift_trains)]
)
def test_a_tool_that_matches_parameters_trains_the_plans_and_no_other(
    format: str, trains: Callable[[str, list[str]], set[str]], names: list[str]
) -> None:
    near = [
        "modelxlayers.1.mlp.gate_proj.weight",
        "model.layers.1xmlp.gate_proj.weight",
        *(f"{name}_scale" for name in CHOSEN),
        *(f"base_model.{name}" for name in CHOSEN),
    ]
    text = export_plan(plan_of(*CHOSEN), format)
    assert trains(text, names + near) == set(CHOSEN)
    # each name alone: block 1 does not bring block 10 with it
    for name in ("model.layers.1.mlp.gate_proj.weight", "model.layers.10.mlp.up_proj.weight"):
        assert trains(export_plan(plan_of(name), format), names + near) == {name}
    assert trains(export_plan(plan_of(*names), format), names + near) == set(names)


@given(st.lists(st.text("ab1_", min_size=1, max_size=6), min_size=1, max_size=8))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_whatever_plain_words_a_name_is_made_of_it_matches_itself_alone(words: list[str]) -> None:
    name = ".".join(["model", "x", *words, "weight"])
    others = [name, name[:-1], f"x{name}", name.replace(".", "_"), name.replace("1", "11")]
    expected = {other for other in others if other == name}
    plan = plan_of(name)
    assert axolotl_trains(export_plan(plan, "axolotl"), others) == expected
    assert swift_trains(export_plan(plan, "ms-swift"), others) == expected


HOSTILE = [
    "model.layers.1.(a+)+$.weight",
    "model.layers.1.up proj.weight",
    "model.layers.1.up,model.layers.2.up.weight",
    "model.layers.1.${oc.env:HOME}.weight",
    "model.layers.1..weight",
    ".weight",
    "-rf.weight",
    "model.layers.1.up\n.weight",
    "model.layers.1.\x1b[31m.weight",
    "model.layers.1.\u202eup.weight",
    "model.layers.1.up[:5].weight",
    "[red]",
    "</script><img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("format", ["axolotl", "ms-swift", "llama-factory", "peft"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_a_tool_might_misread_is_refused_in_one_line(name: str, format: str) -> None:
    plans = [plan_of(name)] if EXPORTS[format].trained else []
    plans += [adapters_of(name)]
    for plan in plans:
        with pytest.raises(PlanError) as caught:
            export_plan(plan, format)
        assert caught.value.message.isprintable()
        assert caught.value.message.isascii()


def test_experts_that_load_as_one_parameter_are_refused_until_named_so() -> None:
    name = "model.layers.0.block_sparse_moe.experts.1.w1.weight"
    for format in ("axolotl", "ms-swift"):
        with pytest.raises(PlanError, match="all experts of a block as one parameter"):
            export_plan(plan_of(name), format)


@pytest.mark.parametrize(
    ("name", "message"),
    [("h.0.attn.c_attn.weight", "one level deeper"), ("blk.3.attn_q.weight", "a GGUF's name")],
)
def test_names_that_no_loaded_model_has_are_refused(name: str, message: str) -> None:
    for format in ("axolotl", "ms-swift"):
        with pytest.raises(PlanError, match=message):
            export_plan(plan_of(name), format)


@pytest.mark.parametrize("kind", ["mixtral", "gpt2", "llama-tied"])
def test_a_loaded_plan_names_what_apply_plan_trains(kind: str, tmp_path: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    write_tiny(tmp_path, kind)
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        stored = [name for name in list(file.keys()) if re.search(r"(layers|h)\.1\.", name)]
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    plan = plan_of(*stored)
    text = export_plan(loaded_plan(model, plan), "axolotl")
    names = [name for name, _ in model.named_parameters()]
    spectrum_ft.apply_plan(model, plan)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert axolotl_trains(text, names) == trained != set()


FORMATS_BY_NAME = [name for name, export in EXPORTS.items() if export.passes_over]


def plans_for(format: str, *names: str) -> list[Plan]:
    """Plans of these tensors, in full and with adapters, that the format has words for."""
    export = EXPORTS[format]
    return [plan_of(*names)] * bool(export.trained) + [adapters_of(*names)] * bool(export.adapted)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str]]:
    """A tiny model of pictures and text, loaded, and the names in its checkpoint."""
    from safetensors import safe_open
    from transformers import (
        AutoModelForImageTextToText,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    folder = tmp_path_factory.mktemp("llava")
    seeing = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    config = LlavaConfig(
        text_config=tiny_config("llama").to_dict(),
        vision_config=seeing.to_dict(),
        image_token_index=3,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    with safe_open(folder / "model.safetensors", "np") as file:
        stored = list(file.keys())
    return AutoModelForImageTextToText.from_pretrained(folder), stored


@pytest.mark.parametrize("format", FORMATS_BY_NAME)
def test_names_that_a_model_of_several_is_saved_but_not_loaded_by_are_refused(
    format: str, llava: tuple[Any, list[str]]
) -> None:
    model, stored = llava
    known = {name for name, _ in model.named_parameters()}
    for part in (r"language_model\.model\.layers\.1\.mlp", r"vision_tower.*layers\.1\.mlp"):
        chosen = [n for n in stored if re.match(part, n) and n.endswith("weight")]
        assert chosen
        assert not known & set(chosen)  # so that an export would select nothing
        for plan in plans_for(format, *chosen):
            with pytest.raises(PlanError, match="of several models") as caught:
                export_plan(plan, format)
            assert "loaded_plan(model, plan)" in (caught.value.hint or "")
            with pytest.raises(PlanError, match="no parameter of these names"):
                export_plan(plan, format, model=model)


@pytest.mark.parametrize(
    ("format", "trains"), [("axolotl", axolotl_trains), ("ms-swift", swift_trains)]
)
def test_a_model_of_several_is_exported_by_the_loaded_models_names(
    format: str, trains: Callable[[str, list[str]], set[str]], llava: tuple[Any, list[str]]
) -> None:
    model, stored = llava
    plan = plan_of(*(name for name in stored if "layers.1.mlp" in name))
    text = export_plan(loaded_plan(model, plan), format, model=model)
    names = [name for name, _ in model.named_parameters()]
    spectrum_ft.apply_plan(model, plan)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trains(text, names) == trained != set()
    assert len(trained) == len(plan.train)


@pytest.mark.parametrize(
    "beside",
    [
        "visual.blocks.0.attn.qkv.weight",  # Qwen2-VL, whose language model is stored plainly
        "visual.merger.mlp.0.weight",
        "audio_tower.conv1.weight",
        "mtp.layers.0.mlp.up_proj.weight",
        "encoder.layers.3.fc1.weight",
    ],
)
@pytest.mark.parametrize("format", FORMATS_BY_NAME)
def test_plain_names_are_refused_where_the_checkpoint_is_known_to_hold_another_model(
    format: str, beside: str
) -> None:
    for plan in plans_for(format, *CHOSEN):
        plain = [*CHOSEN, "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
        assert export_plan(plan, format, stored=plain) == export_plan(plan, format)
        with pytest.raises(PlanError, match="of several models"):
            export_plan(plan, format, stored=[*plain, beside])


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.layers.1.mlp.up_proj.weight",
        "model.text_model.layers.1.mlp.up_proj.weight",
        "thinker.model.layers.1.mlp.up_proj.weight",
        "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight",
        "language_model.lm_head.weight",
    ],
)
def test_a_model_inside_another_is_known_by_a_word_of_its_name(name: str) -> None:
    for format in FORMATS_BY_NAME:
        for plan in plans_for(format, name):
            with pytest.raises(PlanError, match="of several models"):
                export_plan(plan, format)


@pytest.mark.parametrize(
    "name",
    [
        "transformer.h.1.attn.c_attn.weight",
        "gpt_neox.layers.1.mlp.dense_h_to_4h.weight",
        "model.decoder.layers.1.fc1.weight",
        "backbone.layers.1.mixer.in_proj.weight",
    ],
)
def test_plain_models_of_text_are_exported_without_loading_one(name: str) -> None:
    for format in FORMATS_BY_NAME:
        for plan in plans_for(format, name):
            assert name.removesuffix(".weight") in export_plan(plan, format).replace("\\", "")


@pytest.fixture
def tied(tmp_path: Path) -> Any:
    """A Llama whose head is its embeddings, though the checkpoint stores both."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    write_tiny(tmp_path, "llama-tied")
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    return AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("format", "trains"), [("axolotl", axolotl_trains), ("ms-swift", swift_trains)]
)
def test_a_tied_head_goes_by_the_embeddings_name_where_the_model_is_known(
    format: str, trains: Callable[[str, list[str]], set[str]], tied: Any
) -> None:
    names = [name for name, _ in tied.named_parameters()]
    assert "lm_head.weight" not in names
    for plan in (plan_of("lm_head.weight"), plan_of("model.embed_tokens.weight", "lm_head.weight")):
        text = export_plan(loaded_plan(tied, plan), format, model=tied)
        assert trains(text, names) == {"model.embed_tokens.weight"}
        assert "lm_head" not in text


def test_a_head_that_may_be_tied_is_told_of(model: Any) -> None:
    for format in ("axolotl", "ms-swift"):
        told = left_out(plan_of(*CHOSEN, "lm_head.weight"), format)
        assert told is not None
        assert "ties its head to its embeddings, lm_head.weight is such a name" in told
        for names in (CHOSEN, ("model.embed_tokens.weight", "lm_head.weight")):
            assert "ties" not in (left_out(plan_of(*names), format) or "")
        # one of its own is exported as it is
        alone = plan_of("lm_head.weight")
        assert export_plan(alone, format, model=model) == export_plan(alone, format)
    for format in ("list", "pytorch"):  # the one is for reading, the other knows tied names
        assert left_out(plan_of("lm_head.weight"), format) is None


def test_that_a_tool_passes_over_names_is_told_with_every_export_to_it() -> None:
    assert set(FORMATS_BY_NAME) == {"axolotl", "llama-factory", "ms-swift", "peft"}
    for format in FORMATS_BY_NAME:
        for plan in plans_for(format, *CHOSEN):
            assert "passed over" in (left_out(plan, format) or "")


def test_an_expression_too_long_for_an_argument_is_refused() -> None:
    long = plan_of(*(f"model.layers.{i}.mlp.up_proj.weight" for i in range(4_000)))
    with pytest.raises(PlanError, match="an argument holds 131,071"):
        export_plan(long, "ms-swift")


def peft_targets(config: Any, model: Any) -> set[str]:
    """The modules of `model` that PEFT puts an adapter on."""
    from peft import get_peft_model

    wrapped = get_peft_model(model, config)
    return {
        name.removeprefix("base_model.model.").split(".lora_")[0]
        for name, parameter in wrapped.named_parameters()
        if parameter.requires_grad
    }


def from_peft(text: str, folder: Path) -> Any:
    from peft import LoraConfig

    (folder / "adapter_config.json").write_text(text)
    return LoraConfig.from_pretrained(str(folder))


def from_llama_factory(text: str, folder: Path) -> Any:
    """llamafactory 0.9.6: split_arg in hparams/finetuning_args.py, and model/adapter.py."""
    from peft import LoraConfig

    table = yaml.safe_load(text)
    assert table["finetuning_type"] == "lora"
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=table["lora_rank"],
        lora_alpha=table["lora_alpha"],
        lora_dropout=table["lora_dropout"],
        target_modules=[item.strip() for item in table["lora_target"].split(",")],
    )


def from_swift(text: str, folder: Path) -> Any:
    """swift/pipelines/train/tuner.py, 4.6: prepare_adapter."""
    from peft import LoraConfig

    table = yaml.safe_load(text)
    assert table["tuner_type"] == "lora"
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=table["lora_rank"],
        lora_alpha=table["lora_alpha"],
        lora_dropout=table["lora_dropout"],
        target_modules=table["target_modules"],
    )


def from_axolotl(text: str, folder: Path) -> Any:
    """axolotl/loaders/adapter.py, 0.18: _build_peft_lora_config."""
    from peft import LoraConfig

    table = yaml.safe_load(text)
    assert table["adapter"] == "lora"
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=table["lora_r"],
        lora_alpha=table["lora_alpha"],
        lora_dropout=table["lora_dropout"],
        target_modules=table["lora_target_modules"],
    )


READERS = {
    "peft": from_peft,
    "llama-factory": from_llama_factory,
    "ms-swift": from_swift,
    "axolotl": from_axolotl,
}


PEFT_WARNS = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@PEFT_WARNS
@pytest.mark.parametrize("format", list(READERS))
@pytest.mark.parametrize("many", [False, True])  # PEFT shortens lists of twenty names and more
def test_adapters_sit_on_the_plans_matrices_and_on_no_other(
    format: str, many: bool, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    layers = range(1, 12) if many else (1, 10)
    chosen = tuple(f"model.layers.{i}.{kind}.weight" for i in layers for kind in KINDS[:2])
    model = AutoModelForCausalLM.from_config(tiny_config("llama", num_hidden_layers=12))
    for block in model.model.layers:
        block.mlp.up_gate_proj = torch.nn.Linear(64, 96, bias=False)
    config = READERS[format](export_plan(adapters_of(*chosen), format), tmp_path)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.05)
    assert {f"{name}.weight" for name in peft_targets(config, model)} == set(chosen)


@PEFT_WARNS
def test_a_matrix_alone_in_the_plan_does_not_bring_its_namesakes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(tiny_config("llama", num_hidden_layers=12))
    plan = adapters_of("model.layers.1.mlp.up_proj.weight")
    config = from_peft(export_plan(plan, "peft"), tmp_path)
    assert peft_targets(config, model) == {"model.layers.1.mlp.up_proj"}


@pytest.mark.parametrize(
    ("format", "base", "entries"),
    [
        ("axolotl", "nf4", {"adapter": "qlora", "load_in_4bit": True}),
        ("axolotl", "int8", {"adapter": "lora", "load_in_8bit": True}),
        ("ms-swift", "nf4", {"quant_method": "bnb", "quant_bits": 4}),
        ("ms-swift", "int8", {"quant_method": "bnb", "quant_bits": 8}),
        ("llama-factory", "nf4", {"quantization_bit": 4, "quantization_type": "nf4"}),
        ("llama-factory", "int8", {"quantization_bit": 8}),
    ],
)
def test_the_base_under_adapters_is_said(format: str, base: Base, entries: dict[str, Any]) -> None:
    plan = adapters_of("model.layers.1.mlp.up_proj.weight", base=base)
    table = yaml.safe_load(export_plan(plan, format))
    assert entries.items() <= table.items()
    assert base not in (left_out(plan, format) or "")


def test_what_a_format_leaves_to_its_reader_is_told() -> None:
    plan = adapters_of("model.layers.1.mlp.up_proj.weight", base="nf4")
    assert "nf4" not in export_plan(plan, "peft")
    told = left_out(plan, "peft")
    assert told is not None
    assert "nf4" in told
    assert left_out(plan_of("a.weight"), "list") is None


@pytest.mark.parametrize("format", ["axolotl", "ms-swift", "pytorch"])
def test_a_quantized_rest_under_matrices_that_train_is_refused(format: str) -> None:
    with pytest.raises(PlanError, match="cannot keep the rest in nf4") as caught:
        export_plan(plan_of("model.norm.weight", base="nf4"), format)
    assert caught.value.hint is not None
    assert "--base as-is" in caught.value.hint


def test_what_a_tool_has_no_words_for_is_refused_with_a_way_out() -> None:
    hybrid = make_plan(scan_of(one_kind([1.0, 2.0, 3.0, 4.0])), PlanRequest(preset="hybrid")).plan
    for name in EXPORTS:
        with pytest.raises(PlanError, match="knows no adapters") as caught:
            export_plan(hybrid, name)
        assert caught.value.hint is not None
        assert "apply_plan" in caught.value.hint
    for name in ("llama-factory", "peft"):
        with pytest.raises(PlanError, match="no words for matrices that train in full"):
            export_plan(plan_of("model.norm.weight"), name)
    for name in ("list", "pytorch"):
        with pytest.raises(PlanError, match="knows no adapters"):
            export_plan(adapters_of("model.layers.1.mlp.up_proj.weight"), name)


def test_an_alpha_is_whole_where_the_tool_wants_it_so() -> None:
    plan = adapters_of("model.layers.1.mlp.up_proj.weight", alpha=8.5)
    for format in ("axolotl", "ms-swift", "llama-factory"):
        with pytest.raises(PlanError, match="whole numbers"):
            export_plan(plan, format)
    assert json.loads(export_plan(plan, "peft"))["lora_alpha"] == 8.5


def test_a_tensor_that_is_no_modules_weight_carries_no_adapter() -> None:
    with pytest.raises(PlanError, match="no adapter fits"):
        export_plan(adapters_of("model.layers.1.mlp.experts.gate_up_proj"), "peft")


def run_file(text: str, folder: Path) -> Any:
    (folder / "trained.py").write_text(text)
    return runpy.run_path(str(folder / "trained.py"))


def test_the_python_file_freezes_all_but_the_plans_parameters(model: Any, tmp_path: Path) -> None:
    made = run_file(export_plan(plan_of(*CHOSEN), "pytorch"), tmp_path)
    assert made["TRAINED"] == CHOSEN
    made["freeze"](model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(CHOSEN)


def test_the_python_file_refuses_another_model_and_leaves_it_alone(
    model: Any, tmp_path: Path
) -> None:
    made = run_file(export_plan(plan_of(*CHOSEN, "model.layers.99.x.weight"), "pytorch"), tmp_path)
    model.requires_grad_(True)
    with pytest.raises(ValueError, match=r"1 names are not in this model: .*layers\.99"):
        made["freeze"](model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_python_file_knows_a_tied_parameter_by_each_of_its_names(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    tied = AutoModelForCausalLM.from_config(tiny_config("llama-tied"))
    run_file(export_plan(plan_of("lm_head.weight"), "pytorch"), tmp_path)["freeze"](tied)
    trained = [name for name, p in tied.named_parameters() if p.requires_grad]
    assert trained == ["model.embed_tokens.weight"]


@given(st.lists(st.text(), min_size=1, max_size=3, unique=True))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_a_name_stays_a_string_in_the_python_file(names: list[str]) -> None:
    text = export_plan(plan_of(*names), "pytorch")
    assert text.isascii()
    made: dict[str, Any] = {}
    exec(compile(text, "trained.py", "exec"), made)
    assert made["TRAINED"] == tuple(names)


def test_the_plain_list_is_one_name_a_line() -> None:
    assert export_plan(plan_of("a.weight", "b.weight"), "list") == "a.weight\nb.weight\n"
    with pytest.raises(PlanError, match="cannot stand in a list"):
        export_plan(plan_of("a\nb.weight"), "list")


def test_every_format_says_something_of_what_a_preset_makes() -> None:
    scores = [0.1 * i for i in range(12)]
    report = scan_of([m for kind in KINDS for m in one_kind(scores, kind)])
    full = make_plan(report, PlanRequest(share=0.25)).plan
    adapters = make_plan(report, PlanRequest(preset="spectrum-qlora", lora_r=4)).plan
    again = parse_plan(plan_to_yaml(adapters).encode(), "plan.yaml")
    for name, export in EXPORTS.items():
        plan = full if export.trained else adapters
        assert "layers.11" in export_plan(plan, name).replace("\\", "")
        assert export.meaning
    assert export_plan(adapters, "peft") == export_plan(again, "peft")
