"""How a network learned, and where it errs: sections of the report that follow the task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpsearch.reports.sections import Section, Table
from hpsearch.study.tasks import WORDS, Metric, shown
from hpsearch.training.overfitting import turning_point

LARGEST_MATRIX = 20  # classes; a larger confusion matrix is in --json alone
CLEARLY = 2  # times the error by chance
MISTAKES = 10  # listed; all that are kept are in --json
QUANTILES = {"0.05": "5 %", "0.25": "25 %", "0.5": "median", "0.75": "75 %", "0.95": "95 %"}

Curve = Sequence[dict[str, Any]]  # the epochs of a trial as it records them


def learning(title: str, curve: Curve, metric: Metric, best_epoch: int | None) -> Section:
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
            *(_text(epoch[f"{split}_loss"]) for split in ("train", "test")),
            *(_text(epoch[f"{split}_metric"], metric) for split in ("train", "test")),
        )
        for number in numbers
        if (epoch := curve[number - 1])
    ]
    header = ("epoch", "train loss", "test loss", f"train {WORDS[metric]}", f"test {WORDS[metric]}")
    return Section(title, lines, Table(header, rows))


def overfitting_line(curve: Curve) -> str:
    """Return in words where test loss turned away from train loss, by `turning_point`."""
    train = [_finite(epoch["train_loss"]) for epoch in curve]
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


def _test_losses(curve: Curve) -> list[float]:
    return [_finite(epoch["test_loss"]) for epoch in curve]


def _finite(recorded: float | None) -> float:
    return math.inf if recorded is None else recorded


def _text(recorded: float | None, metric: Metric = "accuracy") -> str:
    return "none" if recorded is None else shown(metric, recorded)


def per_output(final: dict[str, Any]) -> list[Section]:
    """Return the scores of each class, label or number on validation, and what was confused."""
    found, names = final["validation"], final["outputs"]
    if "per_number" in found:
        return [_per_number(names, found["per_number"])]
    if "per_label" in found:
        return [_per_label(names, found["per_label"])]
    matrix = [] if len(names) > LARGEST_MATRIX else [_confusion(names, found["confusion"])]
    return [_per_class(names, found["per_class"]), *matrix]


def calibrated(final: dict[str, Any]) -> Section | None:
    """Return whether confidences mean what they say; None of numbers, which have none."""
    found = final.get("calibration")
    if found is None:
        return None
    error, chance = found["error"], found["by_chance"]
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
    if found["temperature"] is not None:
        lines.append(
            f"Divided by the temperature {found['temperature']:.3f}, fitted on test, it is "
            f"{found['mended']['error']:.4f}; the exported model does so."
        )
    rows = [
        (
            f"{b['low']:.2f} - {b['high']:.2f}",
            str(b["answers"]),
            f"{b['confidence']:.3f}",
            f"{b['right']:.3f}",
        )
        for b in found["bins"]
    ]
    header = ("confidence", "answers", "mean confidence", "right")
    return Section("Calibration on validation", lines, Table(header, rows))


def mistaken(metric: Metric, final: dict[str, Any]) -> Section | None:
    """Return what was predicted wrong most confidently, or the largest errors of numbers."""
    found = final.get("mistakes")
    if not found:
        return None
    numbers, text = "per_number" in final["validation"], "text" in found[0]
    title = "Largest errors" if numbers else "Most confident mistakes"
    rows = [
        (
            str(m["image"]),
            m["is"],
            m["told"],
            *(() if m["confidence"] is None else (f"{m['confidence']:.2%}",)),
            *((m["text"],) if text else ()),
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


def _per_class(names: list[str], scores: list[dict[str, Any]]) -> Section:
    rows = [
        (name, f"{c['precision']:.3f}", f"{c['recall']:.3f}", f"{c['f1']:.3f}", str(c["images"]))
        for name, c in zip(names, scores, strict=True)
    ]
    header = ("class", "precision", "recall", "F1", "images")
    return Section("Classes on validation", [], Table(header, rows))


def _per_label(names: list[str], scores: list[dict[str, Any]]) -> Section:
    columns = ("precision", "recall", "f1", "average_precision")
    rows = [
        (name, *(f"{label[column]:.3f}" for column in columns), str(label["images"]))
        for name, label in zip(names, scores, strict=True)
    ]
    header = ("label", "precision", "recall", "F1", "average precision", "images with it")
    return Section("Labels on validation", [], Table(header, rows))


def _per_number(names: list[str], scores: list[dict[str, Any]]) -> Section:
    rows = [
        (
            name,
            f"{number['mse']:.4g}",
            f"{number['mae']:.4g}",
            f"{number['r2']:.4f}",
            *(f"{number['residuals'][quantile]:.3g}" for quantile in QUANTILES),
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
