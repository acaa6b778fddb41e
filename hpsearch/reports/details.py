"""How a network learned, and where it errs: sections of the report that follow the task."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpsearch.reports.sections import Section, Table
from hpsearch.storage.final_record import FinalRecord, NumberScores, OutputScores
from hpsearch.storage.records import EpochRecord
from hpsearch.study.tasks import WORDS, Metric, shown
from hpsearch.training.overfitting import turning_point

LARGEST_MATRIX = 20  # classes; a larger confusion matrix is in --json alone
CLEARLY = 2  # times the error by chance
MISTAKES = 10  # listed; all that are kept are in --json
QUANTILES = {"0.05": "5 %", "0.25": "25 %", "0.5": "median", "0.75": "75 %", "0.95": "95 %"}


def learning(
    title: str, curve: Sequence[EpochRecord], metric: Metric, best_epoch: int | None
) -> Section:
    """Return where a training began to overfit, and the epochs that tell it.

    `best_epoch` is the one whose weights were kept under early stopping.
    """
    lines = [overfitting_line(curve)]
    if best_epoch is not None:
        lines.append(f"Early stopping: weights and score are those of epoch {best_epoch}")
    lowest = _test_losses(curve).index(min(_test_losses(curve))) + 1
    numbers = sorted({1, lowest, best_epoch or lowest, len(curve)})
    rows = [
        (
            str(number),
            *(_text(loss) for loss in (epoch.train_loss, epoch.test_loss)),
            *(_text(score, metric) for score in (epoch.train_metric, epoch.test_metric)),
        )
        for number in numbers
        if (epoch := curve[number - 1])
    ]
    header = ("epoch", "train loss", "test loss", f"train {WORDS[metric]}", f"test {WORDS[metric]}")
    return Section(title, lines, Table(header, rows))


def overfitting_line(curve: Sequence[EpochRecord]) -> str:
    """Return in words where test loss turned away from train loss, by `turning_point`."""
    train = [_finite(epoch.train_loss) for epoch in curve]
    test = _test_losses(curve)
    turn = turning_point(train, test)
    if turn is None:
        lowest = test.index(min(test)) + 1
        return (
            "No overfitting seen: test loss did not turn away from train loss (it was lowest after "
            f"epoch {lowest} of {len(curve)})"
        )
    return (
        f"Overfitting from epoch {turn + 1} on: test loss rose from {test[turn - 1]:.4f} to "
        f"{test[-1]:.4f}, while train loss fell from {train[turn - 1]:.4f} to {train[-1]:.4f}"
    )


def _test_losses(curve: Sequence[EpochRecord]) -> list[float]:
    return [_finite(epoch.test_loss) for epoch in curve]


def _finite(recorded: float | None) -> float:
    return math.inf if recorded is None else recorded


def _text(recorded: float | None, metric: Metric = "accuracy") -> str:
    return "none" if recorded is None else shown(metric, recorded)


def per_output(final: FinalRecord) -> list[Section]:
    """Return the scores of each class, label or number on validation, and what was confused."""
    found, names = final.validation, final.outputs
    if found.per_number:
        return [_per_number(names, found.per_number)]
    if found.per_label:
        return [_per_label(names, found.per_label)]
    matrix = [] if len(names) > LARGEST_MATRIX else [_confusion(names, found.confusion)]
    return [_per_class(names, found.per_class), *matrix]


def calibrated(final: FinalRecord) -> Section | None:
    """Return whether confidences mean what they say; None of numbers, which have none."""
    found = final.calibration
    if found is None:
        return None
    error, chance = found.error, found.by_chance
    lines = [
        f"Expected calibration error {error:.4f}; "
        + (
            "so few groups of images do not tell what chance alone would show."
            if chance is None
            else f"perfect probabilities would show {chance:.4f} by chance alone."
        )
    ]
    if chance is not None and error > CLEARLY * chance:
        lines.append("Confidences are not what they say: do not take them for probabilities.")
    if found.temperature is not None and found.mended is not None:
        lines.append(
            f"Divided by the temperature {found.temperature:.3f}, fitted on test, it is "
            f"{found.mended.error:.4f}; the exported model does so."
        )
    rows = [
        (
            f"{b.low:.2f} - {b.high:.2f}",
            str(b.answers),
            f"{b.confidence:.3f}",
            f"{b.right:.3f}",
        )
        for b in found.bins
    ]
    header = ("confidence", "answers", "mean confidence", "right")
    return Section("Calibration on validation", lines, Table(header, rows))


def mistaken(metric: Metric, final: FinalRecord) -> Section | None:
    """Return what was predicted wrong most confidently, or the largest errors of numbers."""
    found = final.mistakes
    if not found:
        return None
    numbers, text = bool(final.validation.per_number), found[0].text is not None
    title = "Largest errors" if numbers else "Most confident mistakes"
    rows = [
        (
            str(m.image),
            m.truth,
            m.predicted,
            *(() if m.confidence is None else (f"{m.confidence:.2%}",)),
            *((m.text or "",) if text else ()),
        )
        for m in found[:MISTAKES]
    ]
    header = (
        "image",
        "is",
        "predicted",
        *(() if numbers else ("sure",)),
        *(("text",) if text else ()),
    )
    picture = None if text else "mistakes.png"
    where = [] if text else ["Their pictures are in mistakes.png, beside the weights."]
    return Section(f"{title} on validation", where, Table(header, rows), picture)


def _per_class(names: list[str], scores: list[OutputScores]) -> Section:
    rows = [
        (name, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", str(c.images))
        for name, c in zip(names, scores, strict=True)
    ]
    header = ("class", "precision", "recall", "F1", "images")
    return Section("Classes on validation", [], Table(header, rows))


def _per_label(names: list[str], scores: list[OutputScores]) -> Section:
    rows = [
        (
            name,
            *(f"{score:.3f}" for score in (one.precision, one.recall, one.f1)),
            f"{one.average_precision or 0.0:.3f}",
            str(one.images),
        )
        for name, one in zip(names, scores, strict=True)
    ]
    header = ("label", "precision", "recall", "F1", "average precision", "images with it")
    return Section("Labels on validation", [], Table(header, rows))


def _per_number(names: list[str], scores: list[NumberScores]) -> Section:
    rows = [
        (
            name,
            f"{number.mse:.4g}",
            f"{number.mae:.4g}",
            f"{number.r2:.4f}",
            *(f"{number.residuals[quantile]:.3g}" for quantile in QUANTILES),
        )
        for name, number in zip(names, scores, strict=True)
    ]
    lines = [
        "Errors in each number's own units; residuals (predicted minus true) by quantile. Every "
        "one of them is in residuals.png, beside the weights."
    ]
    header = ("number", "MSE", "MAE", "R2", *QUANTILES.values())
    return Section("Numbers on validation", lines, Table(header, rows), "residuals.png")


def _confusion(names: list[str], matrix: list[list[int]]) -> Section:
    header = ("is \\ called", *(str(i) for i in range(len(names))))
    rows = [
        (f"{i} {name}", *(str(n) if n else "." for n in row))
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]
    return Section("Confusion on validation", [], Table(header, rows))
