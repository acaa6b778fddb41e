"""What validation says of networks, once it is opened: scores, calibration, mistakes, gain."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.evaluation.calibration import calibration
from hpsearch.evaluation.measures import gained, measured
from hpsearch.evaluation.mistakes import worst_mistakes, write_mistakes
from hpsearch.evaluation.model_file import probabilities_of
from hpsearch.evaluation.networks import Trained
from hpsearch.evaluation.places import PLOT, SHEET
from hpsearch.evaluation.residuals import write_residuals
from hpsearch.storage.final_record import (
    BesideRecord,
    CalibrationRecord,
    MistakeRecord,
    Scores,
    ValidationScores,
)
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import key_of
from hpsearch.training.loop import outputs_of


def _validation_outputs(
    trained: Trained, sealed: Labelled, data: SearchData
) -> tuple[Tensor, Tensor]:
    split = resident(sealed, data, trained.device)
    return outputs_of(trained.model, split, trained.config), split.targets


@dataclass(frozen=True)
class Judged:
    """What validation says of the choice; no calibration of numbers."""

    validation: ValidationScores
    mistakes: list[MistakeRecord]
    calibration: CalibrationRecord | None = None


def judged(
    choice: Trained, sealed: Labelled, data: SearchData, temperature: float | None, folder: Path
) -> Judged:
    """Return what validation says of the choice; pictures of its errors go into `folder`."""
    config, task = choice.config, choice.task
    outputs, targets = _validation_outputs(choice, sealed, data)
    found = measured(task, config, outputs, targets, sealed.groups)
    validation = ValidationScores(**found, outputs_sha256=digest(outputs))
    predictions = task.predictions(outputs).cpu().numpy()
    mistakes = worst_mistakes(config, predictions, sealed, data, temperature or 1.0)
    if not data.symbols:
        write_mistakes(folder / SHEET, sealed, mistakes)
    if config.task != "regression":
        sure = _calibration(config, predictions, sealed, temperature)
        return Judged(validation, mistakes, sure)
    write_residuals(folder / PLOT, data.outputs, predictions, np.asarray(sealed.targets))
    return Judged(validation, mistakes)


def digest(outputs: Tensor) -> str:
    """Return what tells outputs from others that differ in a single bit."""
    return hashlib.sha256(outputs.cpu().contiguous().numpy().tobytes()).hexdigest()


def _calibration(
    config: TrialConfig, logits: np.ndarray[Any, Any], sealed: Labelled, temperature: float | None
) -> CalibrationRecord:
    targets, groups = np.asarray(sealed.targets), sealed.groups
    plain = calibration(probabilities_of(config.task, logits, 1.0), targets, groups=groups)
    found: dict[str, Any] = dataclasses.asdict(plain) | {"temperature": temperature}
    if temperature is not None:
        mended = calibration(
            probabilities_of(config.task, logits, temperature), targets, groups=groups
        )
        found["mended"] = {"error": mended.error, "by_chance": mended.by_chance}
    return CalibrationRecord.model_validate(found)


def compared(
    baseline: Trained | str | None,
    trial: int,
    parts: int,
    choice: Trained,
    sealed: Labelled,
    data: SearchData,
) -> BesideRecord | None:
    """Return what validation says of the baseline, and what the choice gained over it.

    `parts` is how many parts a batch had in its trial; None without a baseline.
    """
    if baseline is None:
        return None
    if isinstance(baseline, str):
        return BesideRecord(trial=trial, failed=baseline)
    config, task = baseline.config, baseline.task
    outputs, targets = _validation_outputs(baseline, sealed, data)
    found = measured(task, config, outputs, targets, sealed.groups)
    mine = choice.task.predictions(_validation_outputs(choice, sealed, data)[0])
    gain, bounds = gained(
        task.name, config.metric, mine, task.predictions(outputs), targets, sealed.groups
    )
    kept = {"images", "groups", "loss", key_of(config.metric), "interval"}
    in_parts = {"in_parts": config.micro_batches} if config.micro_batches > parts else {}
    return BesideRecord(
        trial=trial,
        test=baseline.scores.test,
        validation=Scores(**{name: value for name, value in found.items() if name in kept}),
        gain=gain,
        gain_interval=bounds,
        curve=baseline.scores.curve,
        **in_parts,
    )
