"""Write a checkpoint that is large and quick to write: Llama blocks of repeated random contents.

    python benchmarks/scan_checkpoint.py FOLDER --gigabytes 10

Every matrix is a stretch of one block of Gaussian noise, of which a few begin at different places;
so a scan reads every byte, and computes each of those contents once for each shape. One content
in `CONTENTS` has a mean, and with it a singular value so large that float32 does not do.
"""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

CONTENTS = 3
"""How many different matrices of a shape there are."""

SHARD_BYTES = 2 * 10**9
"""About how large a shard becomes, in whole blocks of the model."""

STEP = 4099
"""By how many values the contents are apart; prime, so that no rows repeat."""

DTYPES = {"BF16": 2, "F32": 4}
"""Bytes a value, by safetensors' name of the type."""


def matrices(hidden: int, intermediate: int) -> dict[str, tuple[int, int]]:
    """The shape of each matrix of a block, by its kind."""
    return {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden // 4, hidden),
        "self_attn.v_proj": (hidden // 4, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
    }


def contents(num_values: int, dtype: str) -> list[memoryview]:
    """`CONTENTS` different runs of `num_values` random weights, as bytes of that type."""
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.standard_normal(num_values + CONTENTS * STEP, dtype=np.float32)
    ends = [noise[i * STEP : i * STEP + num_values] for i in range(CONTENTS)]
    ends[-1] = ends[-1] + np.float32(0.02)
    return [_encode(values, dtype) for values in ends]


def _encode(values: NDArray[np.float32], dtype: str) -> memoryview:
    # bfloat16 is the upper half of float32; a random number may as well be cut as rounded.
    stored = values if dtype == "F32" else (values.view(np.uint32) >> 16).astype(np.uint16)
    return stored.view(np.uint8).data


def write_checkpoint(
    folder: Path, *, num_bytes: int, dtype: str, hidden: int, intermediate: int
) -> int:
    """The bytes of the weights written into `folder`: as many blocks as make up `num_bytes`."""
    shapes = matrices(hidden, intermediate)
    width = DTYPES[dtype]
    block_bytes = width * sum(m * n for m, n in shapes.values())
    num_layers = -(-num_bytes // block_bytes)
    choices = contents(max(m * n for m, n in shapes.values()), dtype)
    turns = {shape: count() for shape in shapes.values()}
    weight_map: dict[str, str] = {}
    for number, layers in enumerate(_shards(num_layers, max(1, SHARD_BYTES // block_bytes))):
        shard = f"model-{number:05}.safetensors"
        header: dict[str, dict[str, object]] = {}
        parts: list[memoryview] = []
        end = 0
        for layer in layers:
            for kind, shape in shapes.items():
                begin, end = end, end + width * shape[0] * shape[1]
                name = f"model.layers.{layer}.{kind}.weight"
                header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
                parts.append(choices[next(turns[shape]) % CONTENTS][: end - begin])
                weight_map[name] = shard
        text = json.dumps(header).encode()
        with (folder / shard).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.writelines(parts)
    index = {"metadata": {"total_size": num_layers * block_bytes}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {"model_type": "llama", "hidden_size": hidden, "num_hidden_layers": num_layers}
    (folder / "config.json").write_text(json.dumps(config))
    return num_layers * block_bytes


def _shards(num_layers: int, per_shard: int) -> Iterator[range]:
    for begin in range(0, num_layers, per_shard):
        yield range(begin, min(begin + per_shard, num_layers))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--gigabytes", type=click.FloatRange(min=0, min_open=True), default=10.0)
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="BF16")
@click.option("--hidden", type=click.IntRange(min=16), default=4096)
@click.option("--intermediate", type=click.IntRange(min=16), default=14336)
def main(folder: Path, gigabytes: float, dtype: str, hidden: int, intermediate: int) -> None:
    """Write a checkpoint of Llama blocks into FOLDER; the bytes of its weights are printed."""
    folder.mkdir(parents=True, exist_ok=True)
    num_bytes = int(gigabytes * 1e9)
    click.echo(
        write_checkpoint(
            folder, num_bytes=num_bytes, dtype=dtype, hidden=hidden, intermediate=intermediate
        )
    )


if __name__ == "__main__":
    main()
