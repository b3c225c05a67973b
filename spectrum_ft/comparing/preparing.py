"""All of a comparison that can be checked before its first trial."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectrum_ft.comparing.arms import Arm, planned_questions
from spectrum_ft.comparing.comparison_folder import CompareStart
from spectrum_ft.comparing.plans import Match, parse_match, plan_of
from spectrum_ft.comparing.splitting import split
from spectrum_ft.errors import SpectrumError
from spectrum_ft.records.comparisons import Asked, CompareError, CompareSettings
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.records.training import Contract, TrainSettings

if TYPE_CHECKING:
    from spectrum_ft.tuning.data.rows import Rows

TRAIN_PART, VALIDATION_PART = "train.jsonl", "validation.jsonl"

_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab.*", "merges.txt")


@dataclass(frozen=True, kw_only=True)
class PreparedComparison:
    """A comparison whose arms, model, data and settings have been found to fit together."""

    source: str
    """The model, as the user named it."""
    arms: tuple[Arm, ...]
    """The arms, in their order."""
    plans: Mapping[tuple[str, int], Plan | None]
    """The plan of each arm with each seed."""
    settings: CompareSettings
    """What is held equal, with device and dtype decided."""
    start: CompareStart
    """What tells this comparison from others."""
    asked: tuple[Asked, ...]
    """The planned questions."""
    contracts: Mapping[str, Contract]
    """What each arm that trains is about to do, with the first seed."""
    parts: tuple[list[Any], list[Any]] | None
    """The training examples, and those that rates are chosen on; None where all train."""
    ignore_forecast: bool
    """Whether arms are tried that should not fit into memory."""

    def rates(self, arm: Arm) -> tuple[float, ...]:
        """The learning rates of `arm`, of what trains in full or else of its adapters."""
        training = self.settings.training
        plan = self.plans[arm.name, self.settings.seeds[0]]
        assert plan is not None
        own = training.lr if plan.train else training.lora_lr
        return self.settings.rates.get(arm.name, (own,))


def prepare_comparison(
    source: str,
    arms: Sequence[Arm],
    settings: CompareSettings,
    report: ScanReport,
    *,
    ignore_forecast: bool = False,
) -> PreparedComparison:
    """A comparison of `arms` on the model `source`, of which `report` is a scan, checked.

    Nothing is trained and nothing is written. Raises the `SpectrumError` of whatever is wrong,
    naming the arm where it is one arm's.
    """
    from spectrum_ft.evaluating.examinations import check_evaluation, check_lengths
    from spectrum_ft.tuning.bases import open_base, read_config
    from spectrum_ft.tuning.contracts import model_digest
    from spectrum_ft.tuning.data.files import read_rows
    from spectrum_ft.tuning.data.tokenizers import read_tokenizer
    from spectrum_ft.tuning.devices import decide

    trained = [arm.name for arm in arms if arm.trains]
    strays = [name for name in settings.rates if name not in trained]
    if strays:
        raise CompareError(
            f"--lr {ascii(strays[0])[1:-1][:80]}: no such arm that trains",
            f"arms that train: {', '.join(trained) or 'none'}",
        )
    asked = planned_questions(arms, settings.against)
    training = decide(settings.training)
    evaluation = replace(settings.evaluation, device=training.device, dtype=training.dtype)
    settings = replace(settings, training=training, evaluation=evaluation)
    base = open_base(source)
    tokenizer, config = read_tokenizer(base.folder), read_config(base.folder)
    data = read_rows(training.data, training.columns)
    test = read_rows(evaluation.data, evaluation.columns)
    for arm in arms:
        exam = check_evaluation(tokenizer, evaluation_of(arm, settings, training.data))
        check_lengths(config, exam)
    plans, contracts = _plans(source, arms, settings, report, ignore_forecast=ignore_forecast)
    chooses = any(len(rates) > 1 for rates in settings.rates.values())
    start = CompareStart(
        model_digest=model_digest(base),
        data_digest=data.digest,
        eval_digest=test.digest,
        general_digest=_general_digest(evaluation.general),
        validation_share=settings.validation_share if chooses else None,
        settings=settings,
        tokenizer_digest=_tokenizer_digest(base.folder),
        sittings=(f"{len(settings.seeds)} seeds and {len(asked)} questions",),
    )
    return PreparedComparison(
        source=source,
        arms=tuple(arms),
        plans=plans,
        settings=settings,
        start=start,
        asked=asked,
        contracts=contracts,
        parts=_parts(data, settings) if chooses else None,
        ignore_forecast=ignore_forecast,
    )


def _parts(data: "Rows", settings: CompareSettings) -> tuple[list[Any], list[Any]]:
    """The rows of `data` in two parts, their columns named as in the file."""
    names = {field: name for name, field in settings.training.columns.items()}
    rows = [
        {names.get(field, field): value for field, value in row.values.items()}
        for row in data.entries
    ]
    return split(rows, settings.validation_share)


def evaluation_of(arm: Arm, settings: CompareSettings, examples: str) -> EvalSettings:
    """How `arm` is evaluated, with solved examples from the file `examples` where it has any."""
    return replace(
        settings.evaluation,
        few_shot=arm.few_shot,
        examples=examples if arm.few_shot else None,
        votes=arm.votes,
    )


def training_of(settings: TrainSettings, plan: Plan, rate: float) -> TrainSettings:
    """`settings` with `rate` for what `plan` trains in full, or else for its adapters."""
    return replace(settings, lr=rate) if plan.train else replace(settings, lora_lr=rate)


def _plans(
    source: str,
    arms: Sequence[Arm],
    settings: CompareSettings,
    report: ScanReport,
    *,
    ignore_forecast: bool,
) -> tuple[dict[tuple[str, int], Plan | None], dict[str, Contract]]:
    """Every arm's plan with every seed, and every contract with the first one."""
    from spectrum_ft.tuning.preparing import Prepared, forecast_training, prepare

    def prepared(arm: Arm, plan: Plan) -> Prepared:
        try:
            return prepare(source, plan, settings.training, ignore_forecast=ignore_forecast)
        except SpectrumError as fault:
            raise type(fault)(f"the arm {arm.name}: {fault.message}", fault.hint) from None

    match: Match | None = None
    forecast_bytes = None
    if settings.match is not None:
        match = parse_match(settings.match, arms)
        leader = plan_of(match.arm, settings.seeds[0], report)
        assert leader is not None
        led = prepared(match.arm, leader)

        def forecast_bytes(plan: Plan) -> int:
            return forecast_training(led.base, plan, led.settings, led.dataset).total_bytes

    plans: dict[tuple[str, int], Plan | None] = {}
    contracts: dict[str, Contract] = {}
    for arm in arms:
        for seed in settings.seeds:
            if seed == settings.seeds[0] or arm.drawn:
                plan = plan_of(arm, seed, report, match=match, forecast_bytes=forecast_bytes)
            plans[arm.name, seed] = plan
            if plan is not None and arm.name not in contracts:
                contracts[arm.name] = prepared(arm, plan).contract
    return plans, contracts


def _general_digest(source: str | None) -> str | None:
    """What tells the general text from others."""
    if source is None:
        return None
    if not source.lower().endswith(".txt"):
        from spectrum_ft.tuning.data.files import read_rows

        return read_rows(source).digest
    try:
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise CompareError(
            f"--general {source}: cannot be read ({reason})", "check that it is there"
        ) from None


def _tokenizer_digest(folder: Path) -> str:
    """SHA-256 over the files that decide how texts become tokens."""
    digest = hashlib.sha256()
    for name in sorted({path.name for glob in _TOKENIZER for path in folder.glob(glob)}):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()
