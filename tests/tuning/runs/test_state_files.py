"""States that go to JSON and safetensors and come back exactly, and what is refused."""

import json
import math
import random
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.optim.adamw import AdamW8bit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import get_scheduler

from spectrum_ft.errors import CheckpointError, RecordError
from spectrum_ft.tuning.runs.state_files import read_state, write_state


def assert_same(one: Any, other: Any) -> None:
    """Assert equality down to types, the order of keys, and bits."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert [(type(key), key) for key in one] == [(type(key), key) for key in other]
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape, other.device.type) == (other.dtype, other.shape, "cpu")
        flat = [t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
        assert torch.equal(*flat)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, float):
        assert struct.pack(">d", one) == struct.pack(">d", other)
    else:
        assert one == other


def assert_survives(folder: Path, state: Any) -> None:
    write_state(folder, "state", state)
    assert_same(state, read_state(folder, "state"))


def stepped(kind: type[torch.optim.Optimizer], **arguments: Any) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(8, 4)), torch.nn.Parameter(torch.randn(3))]
    optimizer = kind([{"params": [w], "lr": 0.1} for w in weights], **arguments)
    for _ in range(2):
        sum((w**2).sum() for w in weights).backward()  # type: ignore[union-attr]
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    "optimizer",
    [
        stepped(torch.optim.AdamW, amsgrad=True),
        stepped(torch.optim.SGD, lr=0.1, momentum=0.9),
        stepped(torch.optim.Adafactor),
    ],
    ids=["AdamW", "SGD", "Adafactor"],
)
def test_an_optimizers_state_comes_back_exactly(
    tmp_path: Path, optimizer: torch.optim.Optimizer
) -> None:
    assert_survives(tmp_path, optimizer.state_dict())
    optimizer.load_state_dict(read_state(tmp_path, "state"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.safetensors"]


def test_the_shared_map_of_an_8_bit_optimizer_stays_one_tensor(tmp_path: Path) -> None:
    weights = [torch.nn.Parameter(torch.randn(128, 64)) for _ in range(2)]
    make: Any = AdamW8bit  # it has no types
    optimizer = make(weights)
    sum((w**2).sum() for w in weights).backward()  # type: ignore[union-attr]
    optimizer.step()
    state = optimizer.state_dict()
    assert_survives(tmp_path, state)
    found = read_state(tmp_path, "state")
    kept = [found["state"][i]["__bnb_optimizer_quant_state__"] for i in (0, 1)]
    assert kept[0]["state1"].dtype == torch.uint8
    assert kept[0]["qmap1"] is kept[1]["qmap1"]
    assert kept[0]["absmax1"] is not kept[1]["absmax1"]
    optimizer.load_state_dict(found)


@pytest.mark.parametrize(
    "kind", ["cosine", "linear", "polynomial", "inverse_sqrt", "reduce_lr_on_plateau", "constant"]
)
def test_a_schedules_state_comes_back_exactly(tmp_path: Path, kind: str) -> None:
    optimizer = stepped(torch.optim.AdamW)
    schedule = get_scheduler(kind, optimizer, num_warmup_steps=2, num_training_steps=10)
    optimizer.step()
    schedule.step(*[1.0] if kind == "reduce_lr_on_plateau" else [])
    assert_survives(tmp_path, schedule.state_dict())
    schedule.load_state_dict(read_state(tmp_path, "state"))


def test_the_states_of_random_generators_come_back_exactly(tmp_path: Path) -> None:
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "generator": np.random.default_rng(0).bit_generator.state,  # integers of 128 bits
        "torch": torch.get_rng_state(),
        "cuda": [torch.get_rng_state()],
    }
    assert_survives(tmp_path, state)
    found = read_state(tmp_path, "state")
    random.setstate(found["python"])
    np.random.set_state(found["numpy"])
    torch.set_rng_state(found["torch"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -(2**200),
        0.1,
        -0.0,
        5e-324,
        math.inf,
        -math.inf,
        math.nan,
        struct.unpack(">d", bytes.fromhex("7ff8000000000123"))[0],
        "",
        "\u2028 \u00e9 \x00",
        [],
        (),
        {},
        ((), [()], {(): {}}),
        {"dict": [1]},
        {"tuple": 1},
        {1: "int", "1": "str", False: "is 0"},
        {(0, 1): 2, None: 3, 0.5: 4},
        [{"a": (1, [2.0, (None,)])}],
    ],
    ids=repr,
)
def test_plain_values_come_back_exactly(tmp_path: Path, value: object) -> None:
    assert_survives(tmp_path, value)
    assert not (tmp_path / "state.safetensors").exists()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES)
def test_any_tree_comes_back_exactly(tmp_path: Path, tree: object) -> None:
    assert_survives(tmp_path, tree)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.0),
        torch.tensor(7, dtype=torch.int64),
        torch.empty(0),
        torch.empty(0, 3, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.tensor([0.1, -0.0, math.inf, math.nan], dtype=torch.bfloat16),
        torch.tensor([1, 2], dtype=torch.uint8),
        torch.arange(6, dtype=torch.int16).reshape(2, 3).T,
        torch.arange(10.0)[::3],
        torch.tensor([1.5, 2.5]).to(torch.float8_e4m3fn),
        torch.tensor([1 + 2j]),
        np.arange(6, dtype=np.uint32).reshape(2, 3).T,
        np.array(1.5),
        np.array([True]),
        np.array([0.1], dtype=np.float16),
    ],
    ids=repr,
)
def test_tensors_and_arrays_of_any_kind_come_back_exactly(tmp_path: Path, tensor: Any) -> None:
    # An odd number of bytes in front: what is wider must be aligned all the same.
    assert_survives(tmp_path, {"odd": torch.tensor([1], dtype=torch.uint8), "tensor": tensor})


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [{1, 2}]}, r"state\['a'\]\[0\] is a builtins.set"),
        ({0: OrderedDict()}, r"state\[0\] is a collections.OrderedDict"),
        ((np.float64(1.0),), r"state\[0\] is a numpy.float64"),
        (torch.nn.Parameter(torch.ones(1)), "state is a torch.nn.parameter.Parameter"),
        (torch.ones(2).to_sparse(), "state is not a plain tensor"),
        (np.array(["text"]), "state is an array of <U4"),
        ({len: 1}, "state key is a builtins.builtin_function_or_method"),
    ],
    ids=str,
)
def test_what_no_state_holds_is_an_assertion_that_says_where(
    tmp_path: Path, value: object, where: str
) -> None:
    with pytest.raises(AssertionError, match=where):
        write_state(tmp_path, "state", value)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_state_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"optimizer\.json: is missing"):
        read_state(tmp_path, "optimizer")


def test_a_state_whose_tensors_are_gone_is_refused(tmp_path: Path) -> None:
    write_state(tmp_path, "state", {"a": torch.ones(2)})
    (tmp_path / "state.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not a state that was written here"):
        read_state(tmp_path, "state")


@pytest.mark.parametrize(
    "tree",
    [{"int": 1, "float": 2}, {"what": 1}, {"float": "zz"}, {"float": "00"}, {"dict": [[1]]},
     {"dict": [[[], 1]]}, {"tensor": 5}, {"tuple": 3}, {}],
    ids=str,
)  # fmt: skip
def test_a_damaged_tree_is_refused(tmp_path: Path, tree: object) -> None:
    text = json.dumps({"schema": "spectrum-ft/state@1", "state": tree})
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="not a state that was written here"):
        read_state(tmp_path, "state")


def test_a_newer_state_asks_for_an_upgrade(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"schema": "spectrum-ft/state@2", "state": null}')
    with pytest.raises(RecordError, match="newer version") as caught:
        read_state(tmp_path, "state")
    assert caught.value.hint == "upgrade spectrum-ft"


def test_nothing_is_pickled(tmp_path: Path) -> None:
    write_state(tmp_path, "state", stepped(torch.optim.AdamW).state_dict())
    json.loads((tmp_path / "state.json").read_text())
    header = (tmp_path / "state.safetensors").read_bytes()
    assert header[8:9] == b"{"
