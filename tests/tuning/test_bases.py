"""The folder that a model trains from, and plans made for it or for another."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spectrum_ft.checkpoints.checkpoint import fingerprint
from spectrum_ft.errors import CheckpointError, PlanError
from spectrum_ft.tuning.bases import fit_plan, open_base, read_config
from tiny_models import plan_of, write_tiny

DOWN = "model.layers.1.mlp.down_proj.weight"


def test_a_transformers_folder_is_its_own_base(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    base = open_base(str(folder))
    assert base.folder == folder
    assert base.source == str(folder)
    assert {entry.name for entry in base.checkpoint.entries} == {
        *load_file(folder / "model.safetensors")
    }
    assert base.source_fingerprint == fingerprint(base.checkpoint.entries)
    assert base.renamed == {}


def test_a_bare_weight_file_cannot_be_trained(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    with pytest.raises(CheckpointError, match="single weight file") as caught:
        open_base(str(folder / "model.safetensors"))
    assert "folder" in str(caught.value.hint)


def test_a_folder_without_a_config_cannot_be_trained(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config.json"):
        open_base(str(folder))


@pytest.mark.parametrize("name", ["nothing", "nothing\n\x1b[31m/at/all", "../" * 50])
def test_what_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_base(str(tmp_path / "models" / name))
    assert caught.value.message.isprintable()


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        open_base(str(folder))


def test_a_plan_fits_the_model_that_it_was_made_for(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    plan = plan_of(DOWN, fingerprint=base.source_fingerprint)
    assert fit_plan(plan, base) == plan


def test_a_plan_without_a_fingerprint_is_told_apart_by_its_names_alone(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    assert fit_plan(plan_of("no.such.name"), base).train == ("no.such.name",)


def test_a_plan_for_another_model_is_refused_naming_both(tmp_path: Path) -> None:
    other = open_base(str(write_tiny(tmp_path / "other", "llama-tied")))
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    with pytest.raises(PlanError, match="the plan was made for tiny") as caught:
        fit_plan(plan_of(DOWN, fingerprint=other.source_fingerprint), base)
    assert other.source_fingerprint[:12] in caught.value.message
    assert base.source_fingerprint[:12] in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"llama"', "{}", '{"model_type": "x"}', '{"model_type": 3}', "\x00"],
)
def test_a_config_that_transformers_cannot_use_is_refused_in_words(
    text: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config") as caught:
        read_config(folder)
    assert caught.value.message.isprintable()


def test_a_config_that_is_not_text_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"model_type": "\xff\xfe"}')
    with pytest.raises(CheckpointError, match="config"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [('"hidden_size": 64', '"hidden_size": "many"'), ('"hidden_size": 64', '"hidden_size": -1')],
)
def test_a_config_with_impossible_entries_is_refused_in_words(
    entry: str, value: str, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    config = (folder / "config.json").read_text()
    assert entry in config
    (folder / "config.json").write_text(config.replace(entry, value))
    from spectrum_ft.tuning.loading import load_for_training

    with pytest.raises(CheckpointError):
        load_for_training(
            open_base(str(folder)),
            plan_of(DOWN),
            dtype=torch.float32,
            device=torch.device("cpu"),
        )
