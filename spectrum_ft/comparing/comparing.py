"""A comparison, from arms and data to a verdict: its trials, in their order.

Learning rates are chosen first, on validation data with the first seed; then come the trials for
the table, seed by seed, so that a comparison that was stopped half-way is a fair one of fewer
seeds, and a machine that slows down does so for all arms.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from spectrum_ft.comparing.arms import Arm, parse_arms
from spectrum_ft.comparing.comparison_folder import ComparisonFolder, open_comparison, read_trial
from spectrum_ft.comparing.concluding import conclude
from spectrum_ft.comparing.jobs import Job, with_key
from spectrum_ft.comparing.preparing import (
    TRAIN_PART,
    VALIDATION_PART,
    PreparedComparison,
    evaluation_of,
    prepare_comparison,
    training_of,
)
from spectrum_ft.comparing.processes import ComparisonStopped, run_job
from spectrum_ft.comparing.splitting import write_rows
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.comparing.trial_process import TRIAL
from spectrum_ft.environment import command_line
from spectrum_ft.errors import SpectrumError
from spectrum_ft.records.comparisons import (
    CompareError,
    CompareSettings,
    Comparison,
    Purpose,
    Trial,
)
from spectrum_ft.scanning.scans import scan
from spectrum_ft.writing import make_folder

_PACE_STEPS = 6
"""Steps that are timed where all arms get the same minutes; the first one is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Something that happened in a trial."""

    job: Job
    """The trial."""
    number: int
    """Which one it is of all, from 1."""
    of: int
    """How many there are."""
    message: Mapping[str, Any]
    """What its process told: `step` of `steps` with its `loss`, or `asked` of `questions`."""
    trial: Trial | None = None
    """The finished trial, once it is."""
    reused: bool = False
    """Whether it was finished in an earlier sitting."""


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """A comparison that is ready to begin, or to go on."""

    prepared: PreparedComparison
    """What was checked."""
    folder: ComparisonFolder
    """Its folder, locked."""
    keep_weights: bool
    """Whether what the trials trained stays on disk."""

    def run(
        self,
        watch: Callable[[Heard], None] = lambda heard: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Comparison:
        """Make the trials that are not made yet; what all of them come to.

        Each is kept as soon as it is finished. Raises `ComparisonStopped` once `should_stop` says
        so, and `CompareError` when a trial fails.
        """
        chosen: dict[str, ArmTrials] = {}
        seeds = self.prepared.settings.seeds
        number, of = 0, self._count()

        def done(job: Job) -> Trial:
            nonlocal number
            number += 1
            for heard in self._trial(job, number, of, should_stop):
                watch(heard)
            assert heard.trial is not None
            return heard.trial

        steps = {arm.name: self._steps(arm, done) for arm in self._trained()}
        for arm in self.prepared.arms:
            tried = [done(job) for job in self._rate_jobs(arm, steps.get(arm.name))]
            chosen[arm.name] = ArmTrials(name=arm.name, trials=(), rates=tuple(tried))
        tests = {
            (seed, arm.name): self._test_job(arm, seed, chosen[arm.name], steps.get(arm.name))
            for seed in seeds
            for arm in self.prepared.arms
            if seed == seeds[0] or arm.depends_on_seed
        }
        trials = {place: self.folder.finished(job) for place, job in tests.items()}
        try:
            for place, job in tests.items():
                trials[place] = done(job)
        except (ComparisonStopped, SpectrumError):
            self._conclude(_with_trials(chosen, trials))  # something to look at meanwhile
            raise
        return self._conclude(_with_trials(chosen, trials))

    def _test_job(self, arm: Arm, seed: int, tried: ArmTrials, steps: int | None) -> Job:
        return self._job(arm, "test", seed, self._rate(arm, tried.rates), steps)

    def _check_data(self, trial: Trial, folder: Path) -> None:
        """Raise `CompareError` if the data are no longer what they were when all this began."""
        start, parts = self.folder.start, self.prepared.parts
        trained_on = start.data_digest
        if parts is not None:
            trained_on = _sha256(str(self.folder.data / TRAIN_PART))
        found = []
        if trial.run is not None:
            found.append((trial.run.data.digest, trained_on, "training"))
        if trial.evaluation is not None:
            found.append((trial.evaluation.data.digest, start.eval_digest, "test"))
        for digest, expected, what in found:
            if digest != expected:
                (folder / TRIAL).unlink()
                raise CompareError(
                    f"the arm {trial.arm}: the {what} data have changed since the comparison began",
                    "put them back, and give the same command again",
                )

    def _conclude(self, arms: Mapping[str, ArmTrials]) -> Comparison:
        """What the trials so far come to, kept in the folder."""
        prepared = self.prepared
        asked = prepared.asked
        comparison = conclude(
            prepared.source,
            prepared.settings,
            list(arms.values()),
            asked,
            self.folder.start.sittings,
        )
        self.folder.keep(comparison)
        return comparison

    def _trained(self) -> list[Arm]:
        return [arm for arm in self.prepared.arms if arm.trains]

    def _count(self) -> int:
        """The trials there are in all."""
        seeds = len(self.prepared.settings.seeds)
        tests = sum(seeds if arm.depends_on_seed else 1 for arm in self.prepared.arms)
        rates = [len(self.prepared.rates(arm)) for arm in self._trained()]
        paces = len(rates) if self.prepared.settings.minutes is not None else 0
        return tests + sum(count for count in rates if count > 1) + paces

    def _steps(self, arm: Arm, done: Callable[[Job], Trial]) -> int | None:
        """The steps that `arm` gets; None where the settings say."""
        minutes = self.prepared.settings.minutes
        if minutes is None:
            return None
        rate = self.prepared.rates(arm)[0]
        pace = done(self._job(arm, "pace", self.prepared.settings.seeds[0], rate, _PACE_STEPS))
        if pace.failure is not None:
            raise CompareError(f"the arm {arm.name}: {pace.failure}", "give a lower --lr")
        times = [point.seconds for point in pace.curve]
        each = median(after - before for before, after in pairwise(times))
        return max(1, round(60.0 * minutes / max(each, 1e-3)))

    def _rate_jobs(self, arm: Arm, steps: int | None) -> list[Job]:
        """The trials that choose the learning rate of `arm`; none where there is no choice."""
        rates = self.prepared.rates(arm) if arm.trains else ()
        seed = self.prepared.settings.seeds[0]
        return [self._job(arm, "rate", seed, rate, steps) for rate in rates if len(rates) > 1]

    def _rate(self, arm: Arm, tried: tuple[Trial, ...]) -> float | None:
        """The learning rate of `arm`: of several the one with the lowest validation loss."""
        if not tried:
            return self.prepared.rates(arm)[0] if arm.trains else None
        sound = [trial for trial in tried if trial.failure is None]
        if not sound:
            raise CompareError(
                f"the arm {arm.name}: no learning rate works ({tried[0].failure})",
                "give lower ones with --lr",
            )
        return min(sound, key=_validation_loss).lr

    def _job(
        self, arm: Arm, purpose: Purpose, seed: int, rate: float | None, steps: int | None
    ) -> Job:
        prepared, settings = self.prepared, self.prepared.settings
        plan = prepared.plans[arm.name, seed]
        training = None
        if plan is not None and rate is not None:
            training = replace(
                training_of(settings.training, plan, rate),
                **self._files(purpose),
                seed=seed,
                max_steps=steps or settings.training.max_steps,
            )
        examples = self._files(purpose)["data"]
        evaluation = replace(evaluation_of(arm, settings, examples), seed=seed)
        job = Job(
            source=prepared.source,
            arm=arm.name,
            purpose=purpose,
            seed=seed,
            lr=rate,
            plan=plan,
            training=training,
            evaluation=evaluation if purpose == "test" else None,
            command=command_line(),
            ignore_forecast=prepared.ignore_forecast,
        )
        return with_key(job, self._held_equal())

    def _files(self, purpose: Purpose) -> dict[str, Any]:
        """The training and validation data of a trial, as settings."""
        if self.prepared.parts is None:
            return {"data": self.prepared.settings.training.data, "eval_data": None}
        validation = str(self.folder.data / VALIDATION_PART) if purpose == "rate" else None
        return {"data": str(self.folder.data / TRAIN_PART), "eval_data": validation}

    def _held_equal(self) -> str:
        """A digest of what all trials share."""
        start = self.folder.start
        parts = [start.model_digest, start.data_digest, start.eval_digest, start.general_digest]
        return hashlib.sha256(json.dumps([*parts, start.validation_share]).encode()).hexdigest()

    def _trial(
        self, job: Job, number: int, of: int, should_stop: Callable[[], bool]
    ) -> Iterator[Heard]:
        """What happens in one trial; the last item carries it."""
        before = self.folder.finished(job)
        if before is not None:
            if not self.keep_weights:
                self.folder.drop_weights(job)  # the process may have been killed before it could
            yield Heard(job=job, number=number, of=of, message={}, trial=before, reused=True)
            return
        if should_stop():
            raise ComparisonStopped
        folder = self.folder.trial_folder(job)
        yield Heard(job=job, number=number, of=of, message={})
        for message in run_job(job, folder, should_stop):
            yield Heard(job=job, number=number, of=of, message=message)
        trial = read_trial(folder / TRIAL)
        self._check_data(trial, folder)
        if not self.keep_weights:
            self.folder.drop_weights(job)
        yield Heard(job=job, number=number, of=of, message={}, trial=trial)


def _with_trials(
    arms: Mapping[str, ArmTrials], trials: Mapping[tuple[int, str], Trial | None]
) -> dict[str, ArmTrials]:
    """`arms` with those of `trials` that there are."""
    return {
        name: replace(
            arm,
            trials=tuple(t for (_, of), t in trials.items() if of == name and t is not None),
        )
        for name, arm in arms.items()
    }


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _validation_loss(trial: Trial) -> tuple[float, float]:
    assert trial.run is not None
    assert trial.run.eval_loss is not None
    assert trial.lr is not None
    return trial.run.eval_loss, trial.lr


def compare(
    source: str,
    arms: Sequence[str],
    settings: CompareSettings,
    output: Path,
    *,
    watch: Callable[[Heard], None] = lambda heard: None,
    force: bool = False,
) -> Comparison:
    """Hold `arms`, by their short names, against each other on the model `source`.

    The comparison is kept in the folder `output`; one that is there goes on. See `parse_arms` for
    the names, `prepare_comparison` and `open_comparing` for what can be told before it begins.
    """
    prepared = prepare_comparison(source, parse_arms(arms), settings, scan(source))
    with open_comparing(prepared, output, force=force) as comparing:
        return comparing.run(watch)


@contextmanager
def open_comparing(
    prepared: PreparedComparison, output: Path, *, keep_weights: bool = False, force: bool = False
) -> Iterator[Comparing]:
    """The comparison in the folder `output`, begun or taken up there; see `open_comparison`."""
    with open_comparison(output, prepared.start, force=force) as folder:
        if prepared.parts is not None:
            make_folder(folder.data)
            for name, rows in zip((TRAIN_PART, VALIDATION_PART), prepared.parts, strict=True):
                write_rows(folder.data / name, rows)
        yield Comparing(prepared=prepared, folder=folder, keep_weights=keep_weights)
