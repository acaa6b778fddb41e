"""The worst mistakes of a network: which images it predicted wrong, and was the surest of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.contact_sheet import Tile, write_contact_sheet
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.errors import RunsFolderError
from hpsearch.evaluation.model_file import probabilities_of
from hpsearch.storage.final_record import MistakeRecord
from hpsearch.study.config import TrialConfig

MOST = 24
TEXT_SHOWN = 60  # characters


def worst_mistakes(
    config: TrialConfig,
    predictions: NDArray[Any],
    split: Labelled,
    data: SearchData,
    temperature: float,
) -> list[MistakeRecord]:
    """Return the mistakes of the highest confidence, or the largest errors of a regression.

    `predictions` `(N, outputs)` are logits, or numbers in their own units, whose errors are
    compared in standard deviations of train.
    """
    find = {"single-label": _classes, "multi-label": _labels, "regression": _numbers}[config.task]
    found = find(config, predictions, np.asarray(split.targets), data, temperature)
    if config.data.source == "text" and config.data.text is not None:
        alphabet = config.data.text.alphabet
        for i, mistake in enumerate(found):
            symbols = np.asarray(split.images[mistake.image, 0, :, 0])
            found[i] = mistake.model_copy(update={"text": _read(symbols, alphabet)})
    return found


def _classes(
    config: TrialConfig,
    predictions: NDArray[Any],
    targets: NDArray[Any],
    data: SearchData,
    temperature: float,
) -> list[MistakeRecord]:
    sure = probabilities_of(config.task, predictions, temperature)  # (N, classes)
    called, confidence = predictions.argmax(1), sure.max(1)
    wrong = np.flatnonzero(called != targets)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
    return [
        _mistake(i, data.outputs[targets[i]], data.outputs[called[i]], confidence[i]) for i in worst
    ]


def _labels(
    config: TrialConfig,
    predictions: NDArray[Any],
    targets: NDArray[Any],
    data: SearchData,
    temperature: float,
) -> list[MistakeRecord]:
    called, true = predictions >= 0, targets > 0.5
    sure = probabilities_of(config.task, np.abs(predictions), temperature)
    images, labels = np.nonzero(called != true)
    worst = np.argsort(-sure[images, labels], kind="stable")[:MOST]
    words = ("not ", "")
    return [
        _mistake(
            i,
            words[int(true[i, k])] + data.outputs[k],
            words[int(called[i, k])] + data.outputs[k],
            sure[i, k],
        )
        for i, k in zip(images[worst], labels[worst], strict=True)
    ]


def _numbers(
    config: TrialConfig,
    predictions: NDArray[Any],
    targets: NDArray[Any],
    data: SearchData,
    temperature: float,
) -> list[MistakeRecord]:
    spread = np.maximum(np.asarray(data.train.targets, np.float64).std(0), 1e-12)
    errors = np.abs(predictions - targets) / spread  # (N, numbers)
    worst = np.argsort(-errors, axis=None, kind="stable")[:MOST]
    return [
        _mistake(
            i,
            f"{data.outputs[k]} {targets[i, k]:.4g}",
            f"{data.outputs[k]} {predictions[i, k]:.4g}",
            None,
        )
        for i, k in zip(*np.unravel_index(worst, errors.shape), strict=True)
    ]


def _mistake(image: Any, truth: str, predicted: str, confidence: Any) -> MistakeRecord:
    sure = None if confidence is None else float(confidence)
    return MistakeRecord.model_validate(
        {"image": int(image), "is": truth, "predicted": predicted, "confidence": sure}
    )


def _read(symbols: NDArray[Any], alphabet: str) -> str:
    """Return the beginning of a text as the network saw it."""
    return "".join(" " if s == 0 else alphabet[s - 1] for s in symbols).strip()[:TEXT_SHOWN]


def write_mistakes(path: Path, split: Labelled, mistakes: Sequence[MistakeRecord]) -> None:
    """Write the pictures of mistakes as a contact sheet; RunsFolderError where it cannot be."""
    tiles = []
    for mistake in mistakes:
        sure = mistake.confidence
        words = (f"is {mistake.truth}", f"predicted {mistake.predicted}")
        caption = words if sure is None else (*words, f"{sure:.2%} sure")
        tiles.append(Tile((np.asarray(split.images[mistake.image]),), caption))
    try:
        write_contact_sheet(path, "The worst mistakes on validation", tiles)
    except OSError as error:
        raise RunsFolderError(
            f"{path}: cannot be written: {error.strerror}; free space or choose another folder"
        ) from None
