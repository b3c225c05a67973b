"""Comparisons made by hand, with values that the test chose: what `compare` leaves behind."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from spectrum_ft.records.comparisons import (
    ArmResult,
    Asked,
    CompareSettings,
    Comparison,
    Contrast,
    CurvePoint,
    Estimate,
    Finding,
    RateTried,
)
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.training import TrainSettings

TOTAL = 134_515_008
STEPS = 120
SEEDS = (0, 1, 2)


def a_curve(last: float, step_seconds: float, seed: int, steps: int = STEPS) -> Any:
    """A noisy loss that falls from 4.2 towards `last`."""
    noise = random.Random(f"{last} {seed}")
    return tuple(
        CurvePoint(
            step=step,
            seconds=step * step_seconds,
            loss=(last + (4.2 - last) * math.exp(-4.0 * step / steps))
            * math.exp(noise.gauss(0.0, 0.12)),
        )
        for step in range(1, steps + 1)
    )


def an_estimate(mean: float, half: float, seeds: int = 3) -> Estimate:
    """An estimate of a mean with an interval of `mean` - `half` to `mean` + `half`."""
    around = (mean - half / 4, mean, mean + half / 4)[:seeds]
    return Estimate(mean=mean, low=mean - half, high=mean + half, values=around)


def untrained_arm(name: str, accuracy: float, loss: float, **changes: Any) -> ArmResult:
    """An arm that trains nothing."""
    arm = ArmResult(
        name=name,
        seeds=(0,),
        lr=None,
        lora_lr=None,
        rates=(),
        accuracy=Estimate(
            mean=accuracy, low=accuracy - 0.035, high=accuracy + 0.041, values=(accuracy,)
        ),
        loss=an_estimate(loss, 0.15, 1),
        general_loss=None,
        samples=1.0,
        seconds=None,
        tokens_per_second=None,
        peak_memory_bytes=None,
        trained=0,
        adapter_weights=0,
        total=None,
        steps=None,
        result_bytes=None,
        lowest_layer=None,
        layers=(),
        dominated=False,
        curves=(),
    )
    return replace(arm, **changes)


def trained_arm(
    name: str,
    accuracy: float,
    loss: float,
    *,
    mib: int,
    step_seconds: float,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    **changes: Any,
) -> ArmResult:
    """An arm that trains, by default weights in full at a rate of 1e-4."""
    arm = ArmResult(
        name=name,
        seeds=tuple(seeds),
        lr=1e-4,
        lora_lr=None,
        rates=tuple(RateTried(lr=lr, loss=loss * 1.1) for lr in (5e-5, 1e-4, 2e-4)),
        accuracy=an_estimate(accuracy, 0.03, len(seeds)),
        loss=an_estimate(loss, 0.05, len(seeds)),
        general_loss=None,
        samples=1.0,
        seconds=steps * step_seconds,
        tokens_per_second=400.0 / max(step_seconds, 1e-3),
        peak_memory_bytes=mib * 2**20,
        trained=28_311_552,
        adapter_weights=0,
        total=TOTAL,
        steps=steps,
        result_bytes=57_000_000,
        lowest_layer=None,
        layers=(),
        dominated=False,
        curves=tuple(a_curve(loss * 0.9, step_seconds, seed, steps) for seed in seeds),
    )
    return replace(arm, **changes)


def _adapted(**changes: Any) -> dict[str, Any]:
    return {"lr": None, "lora_lr": 2e-4, "trained": 0, "adapter_weights": 4_884_480} | changes


def _contrast(
    arm: str,
    against: str,
    metric: Literal["accuracy", "loss"],
    difference: float,
    half: float,
    p: float,
    finding: Finding,
) -> Contrast:
    return Contrast(
        asked=Asked(question=f"Is {arm} better than {against}?", arm=arm, against=against),
        metric=metric,
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=p / 4,
        p_adjusted=p,
        seeds=3,
        examples=400,
        models_low=difference - half / 2,
        models_high=difference + half / 2,
        finding=finding,
    )


_ARMS = (
    untrained_arm("base", 0.128, 3.812),
    replace(
        untrained_arm("few-shot:5", 0.4175, 1.9034, seeds=SEEDS),
        accuracy=an_estimate(0.4175, 0.047),
    ),
    trained_arm(
        "spectrum-25",
        0.7458,
        0.8421,
        mib=1498,
        step_seconds=2.1,
        lowest_layer=4,
        layers=tuple((i * 3) % 5 if i > 3 else 0 for i in range(30)),
    ),
    trained_arm(
        "spectrum-25:snr_mp",
        0.8533,
        0.4702,
        mib=1512,
        step_seconds=1.9,
        lowest_layer=9,
        layers=tuple(0 if i < 9 else min(5, (i - 7) // 3) for i in range(30)),
    ),
    trained_arm(
        "hybrid-25",
        0.8708,
        0.4316,
        mib=1204,
        step_seconds=3.4,
        lora_lr=2e-4,
        adapter_weights=3_663_360,
        lowest_layer=0,
        layers=tuple(0 if i < 9 else min(5, (i - 7) // 3) for i in range(30)),
    ),
    trained_arm("qlora", 0.8625, 0.4533, mib=1051, step_seconds=3.6, **_adapted()),
    trained_arm("lora", 0.8650, 0.4467, mib=1260, step_seconds=2.6, **_adapted()),
    trained_arm(
        "full",
        0.8817,
        0.3954,
        mib=2868,
        step_seconds=3.0,
        lr=5e-5,
        trained=TOTAL,
        layers=(9,) * 30,
    ),
    trained_arm(
        "random-25",
        0.8142,
        0.5879,
        mib=1530,
        step_seconds=2.2,
        dominated=True,
        lowest_layer=0,
        layers=tuple((i * 7 + 3) % 4 for i in range(30)),
    ),
    trained_arm(
        "lowest-25",
        0.6900,
        0.9513,
        mib=1541,
        step_seconds=2.3,
        dominated=True,
        lowest_layer=0,
        layers=tuple(max(0, 5 - i // 4) for i in range(30)),
    ),
)

_CONTRASTS = (
    _contrast("spectrum-25", "qlora", "accuracy", -0.1167, 0.031, 0.0042, "worse"),
    _contrast(
        "spectrum-25:snr_mp", "qlora", "accuracy", -0.0092, 0.024, 0.41, "no difference shown"
    ),
    _contrast("spectrum-25:snr_mp", "random-25", "accuracy", 0.0391, 0.0213, 0.038, "better"),
    _contrast("hybrid-25", "qlora", "accuracy", 0.0083, 0.0231, 0.52, "no difference shown"),
    _contrast("spectrum-25", "qlora", "loss", 0.3888, 0.0412, 0.00031, "worse"),
    _contrast("spectrum-25:snr_mp", "qlora", "loss", 0.0169, 0.0305, 0.33, "no difference shown"),
    _contrast("spectrum-25:snr_mp", "random-25", "loss", -0.1177, 0.0391, 0.011, "better"),
    _contrast("hybrid-25", "qlora", "loss", -0.0217, 0.0377, 0.33, "no difference shown"),
)

_VERDICTS = (
    "From 12.8 % (base) to 74.6 % (spectrum-25), 85.3 % (spectrum-25:snr_mp), "
    "87.1 % (hybrid-25) correct.",
    "spectrum-25 is worse than qlora: -11.7 points of accuracy (95 % interval -14.8 to -8.6, "
    "p 0.0042 corrected, 3 seeds, 400 questions).",
    "No difference shown between spectrum-25:snr_mp and qlora: -0.9 points of accuracy "
    "(95 % interval -3.3 to +1.5, p 0.41 corrected, 3 seeds, 400 questions).",
    "spectrum-25:snr_mp is better than random-25: +3.9 points of accuracy (95 % interval "
    "+1.8 to +6.0, p 0.038 corrected, 3 seeds, 400 questions).",
    "No difference shown between hybrid-25 and qlora: +0.8 points of accuracy (95 % interval "
    "-1.5 to +3.1, p 0.52 corrected, 3 seeds, 400 questions).",
    "Beside qlora, hybrid-25 takes 0.94 times the time and 1.15 times the memory, and updates "
    "6.5 times the weights.",
)

_DIFFERENCES = (
    "Where an arm trains weights and adapters, only the weights' rate was chosen.",
    "The best learning rate tried is the lowest or highest of them, so that a better one may lie "
    "beyond, for: full.",
    "Times are of one machine, and of whatever else it was doing.",
)


def a_comparison(**changes: Any) -> Comparison:
    """Ten arms on an intent data set, three seeds each: realistic, and made up."""
    made = Comparison(
        source="HuggingFaceTB/SmolLM2-135M",
        settings=CompareSettings(
            training=TrainSettings(
                data="train.jsonl", max_steps=STEPS, batch_size=8, max_length=64
            ),
            evaluation=EvalSettings(data="test.jsonl"),
            seeds=SEEDS,
        ),
        arms=_ARMS,
        contrasts=_CONTRASTS,
        verdicts=_VERDICTS,
        differences=_DIFFERENCES,
        seconds=12_345.6,
        environment=Environment(
            spectrum_ft="0.1.0",
            python="3.11.9",
            numpy="2.4.6",
            scipy="1.17.1",
            platform="Linux x86_64",
            device="cpu",
        ),
        command="spectrum compare HuggingFaceTB/SmolLM2-135M --data train.jsonl --eval test.jsonl "
        "--arms base,few-shot:5,spectrum-25,spectrum-25:snr_mp,hybrid-25,qlora,lora,full,"
        "random-25,lowest-25 --steps 120 --batch-size 8 -o comparison",
    )
    return replace(made, **changes)


def comparison_of(count: int, *, prefix: str = "arm", seeds: Sequence[int] = SEEDS) -> Comparison:
    """`count` arms that train and lie close together, with a short course of eighty steps."""
    draw = random.Random(count)
    arms = tuple(
        trained_arm(
            f"{prefix}-{number}",
            accuracy := draw.uniform(0.80, 0.9),
            0.3 + 2.0 * (0.95 - accuracy),
            mib=draw.randrange(1000, 1700),
            step_seconds=draw.uniform(1.5, 4.0),
            seeds=seeds,
            steps=80,
            dominated=number % 3 == 0,
        )
        for number in range(1, count + 1)
    )
    return a_comparison(arms=arms, contrasts=(), verdicts=(), differences=())
