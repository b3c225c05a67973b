"""lm-evaluation-harness by its own package, on a task whose data lie in a local file."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from chat_data import write_jsonl
from spectrum_ft.evaluating.harness import check_tasks, run_tasks
from spectrum_ft.records.evaluations import EvalSettingsError
from spectrum_ft.tuning.opening import Opened, open_model
from tiny_models import write_tiny_llama

pytestmark = [
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs pip install 'lm-eval>=0.4.9'"),
    pytest.mark.slow,  # it reads 14,000 task files
]

TASK = """\
task: animals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["fox", "dog"]
doc_to_target: "{{{{label}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
QUESTIONS = ["the quick brown", "over the lazy", "card payment lost", "system user"]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    write_tiny_llama(tmp_path / "model", seed=3)
    return open_model(str(tmp_path / "model"), device="cpu")


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    """A folder with one task of the harness's format."""
    data = tmp_path / "animals.jsonl"
    write_jsonl(data, [{"question": q, "label": i % 2} for i, q in enumerate(QUESTIONS)])
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "animals.yaml").write_text(TASK.format(data=data))
    return str(folder)


def likelihood(opened: Opened, question: str, answer: str) -> float:
    """The log-likelihood of ` answer` after the question, one text at a time."""
    ids = opened.tokenizer(f"{question} {answer}", add_special_tokens=False)["input_ids"]
    start = len(opened.tokenizer(question, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        scores = opened.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(scores[i - 1, ids[i]]) for i in range(start, len(ids)))


def test_a_task_gives_the_accuracy_of_its_likelihoods(opened: Opened, tasks: str) -> None:
    modes = [module.training for module in opened.model.modules()]
    found = run_tasks(
        opened.model, opened.tokenizer, ["animals"], limit=None, batch_size=2, folder=tasks
    )
    right = [
        int(likelihood(opened, q, "dog") > likelihood(opened, q, "fox")) == i % 2
        for i, q in enumerate(QUESTIONS)
    ]
    assert found == {"animals acc": sum(right) / len(right)}
    assert [module.training for module in opened.model.modules()] == modes
    with pytest.raises(EvalSettingsError, match="has no animlas") as caught:
        check_tasks(["animlas"], folder=tasks)
    assert caught.value.hint == "did you mean animals?"


def test_a_task_whose_data_are_missing_is_explained(opened: Opened, tasks: str) -> None:
    (Path(tasks).parent / "animals.jsonl").unlink()
    with pytest.raises(EvalSettingsError, match="cannot run animals"):
        run_tasks(opened.model, opened.tokenizer, ["animals"], limit=2, batch_size=2, folder=tasks)
