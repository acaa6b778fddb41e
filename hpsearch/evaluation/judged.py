"""What validation says of networks, once it is opened: scores, calibration, mistakes, gain."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
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
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import key_of
from hpsearch.training.loop import outputs_of


def _validation_outputs(
    trained: Trained, sealed: Labelled, data: SearchData
) -> tuple[Tensor, Tensor]:
    split = resident(sealed, data, trained.device)
    return outputs_of(trained.model, split, trained.config), split.targets


def judged(
    choice: Trained, sealed: Labelled, data: SearchData, temperature: float | None, folder: Path
) -> dict[str, Any]:
    """Return what validation says of the choice; pictures of its errors go into `folder`."""
    config, task = choice.config, choice.task
    outputs, targets = _validation_outputs(choice, sealed, data)
    found = measured(task, config, outputs, targets, sealed.groups)
    found["outputs_sha256"] = digest(outputs)
    predictions = task.predictions(outputs).cpu().numpy()
    result: dict[str, Any] = {"validation": found}
    if config.task == "regression":
        write_residuals(folder / PLOT, data.outputs, predictions, np.asarray(sealed.targets))
    else:
        result["calibration"] = _calibration(config, predictions, sealed, temperature)
    result["mistakes"] = worst_mistakes(config, predictions, sealed, data, temperature or 1.0)
    if not data.symbols:
        write_mistakes(folder / SHEET, sealed, result["mistakes"])
    return result


def digest(outputs: Tensor) -> str:
    """Return what tells outputs from others that differ in a single bit."""
    return hashlib.sha256(outputs.cpu().contiguous().numpy().tobytes()).hexdigest()


def _calibration(
    config: TrialConfig, logits: np.ndarray[Any, Any], sealed: Labelled, temperature: float | None
) -> dict[str, Any]:
    targets, groups = np.asarray(sealed.targets), sealed.groups
    plain = calibration(probabilities_of(config.task, logits, 1.0), targets, groups=groups)
    found = dataclasses.asdict(plain) | {"temperature": temperature}
    if temperature is not None:
        mended = calibration(
            probabilities_of(config.task, logits, temperature), targets, groups=groups
        )
        found["mended"] = {"error": mended.error, "by_chance": mended.by_chance}
    return found


def compared(
    baseline: Trained | str | None,
    trial: FrozenTrial | None,
    choice: Trained,
    sealed: Labelled,
    data: SearchData,
) -> dict[str, Any] | None:
    """Return what validation says of the baseline, and what the choice gained over it.

    `in_parts` is how many parts a batch had where memory was shorter than in its trial.
    """
    if baseline is None or trial is None:
        return None
    if isinstance(baseline, str):
        return {"trial": trial.number, "failed": baseline}
    config, task = baseline.config, baseline.task
    outputs, targets = _validation_outputs(baseline, sealed, data)
    found = measured(task, config, outputs, targets, sealed.groups)
    mine = choice.task.predictions(_validation_outputs(choice, sealed, data)[0])
    gain, bounds = gained(
        task.name, config.metric, mine, task.predictions(outputs), targets, sealed.groups
    )
    kept = {"images", "groups", "loss", key_of(config.metric), "interval"}
    parts = config.micro_batches
    in_parts = {"in_parts": parts} if parts > trial.user_attrs.get("micro_batches", 1) else {}
    return in_parts | {
        "trial": trial.number,
        "test": baseline.scores["test"],
        "validation": {name: value for name, value in found.items() if name in kept},
        "gain": gain,
        "gain_interval": bounds,
        "curve": baseline.scores["curve"],
    }
