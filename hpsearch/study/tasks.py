"""What each task allows: its losses, its metrics, and which way a metric gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpsearch.study.data import Task

Loss = Literal["cross-entropy", "nll", "bce-with-logits", "bce", "mse", "huber", "mae"]
Metric = Literal[
    "accuracy", "balanced-accuracy", "macro-f1", "mean-average-precision", "mse", "mae", "r2"
]
Direction = Literal["maximize", "minimize"]

AUTO = "auto"  # in the space: the first loss of the task


@dataclass(frozen=True)
class Allowed:
    """What may be asked of a task; the first loss and the first metric are its defaults."""

    losses: tuple[Loss, ...]
    metrics: tuple[Metric, ...]


TASKS: dict[Task, Allowed] = {
    "single-label": Allowed(
        ("cross-entropy", "nll"),
        ("accuracy", "balanced-accuracy", "macro-f1"),
    ),
    "multi-label": Allowed(("bce-with-logits", "bce"), ("macro-f1", "mean-average-precision")),
    "regression": Allowed(("mse", "huber", "mae"), ("mse", "mae", "r2")),
}

WORDS: dict[Metric, str] = {
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced accuracy",
    "macro-f1": "macro F1",
    "mean-average-precision": "mean average precision",
    "mse": "MSE",
    "mae": "MAE",
    "r2": "R2",
}
MINIMISED: frozenset[Metric] = frozenset({"mse", "mae"})

WHAT_A_LOSS_ASKS: dict[Loss, str] = {
    "cross-entropy": "its softmax makes the outputs compete for one right class",
    "nll": "its log-softmax makes the outputs compete for one right class",
    "bce-with-logits": "it asks every output for a yes or no of its own",
    "bce": "it asks every output for a yes or no of its own",
    "mse": "it measures how far numbers are apart",
    "huber": "it measures how far numbers are apart",
    "mae": "it measures how far numbers are apart",
}
WHAT_A_METRIC_ASKS: dict[Metric, str] = {
    "accuracy": "it counts images whose one class was predicted right",
    "balanced-accuracy": "it counts images whose one class was predicted right",
    "macro-f1": "it counts what was predicted rightly, wrongly and not at all of a class or label",
    "mean-average-precision": "it ranks the images by each of several labels",
    "mse": "it measures how far numbers are apart",
    "mae": "it measures how far numbers are apart",
    "r2": "it measures how far numbers are apart",
}

# What people write for a loss elsewhere, and what it would do here.
OTHER_NAMES: tuple[tuple[str, str], ...] = (
    *(
        (name, "a softmax before cross-entropy would be applied twice, and slow the learning down: "
         "cross-entropy takes the outputs as they are; use cross-entropy")
        for name in ("softmax", "softmax-cross-entropy", "log-softmax")
    ),
    *(
        (name, "use bce-with-logits, which takes the outputs as they are, or bce, which applies "
         "the sigmoid first")
        for name in ("sigmoid", "binary-cross-entropy", "bce-logits")
    ),
    *((name, "use mse") for name in ("l2", "squared-error")),
    *((name, "use mae") for name in ("l1", "absolute-error")),
    ("smooth-l1", "use huber"),
)  # fmt: skip


def default_loss(task: Task) -> Loss:
    """Return the loss that a task is taught with unless the study says otherwise."""
    return TASKS[task].losses[0]


def default_metric(task: Task) -> Metric:
    """Return the metric that selects in a task unless the study says otherwise."""
    return TASKS[task].metrics[0]


def direction(metric: Metric) -> Direction:
    """Return which way a metric gets better."""
    return "minimize" if metric in MINIMISED else "maximize"


def rank(metric: Metric, score: float) -> float:
    """Return a score so that the least is the best: what lists of trials are sorted by."""
    return score if metric in MINIMISED else -score


def key_of(metric: Metric) -> str:
    """Return the name of a metric in results: `accuracy`, `macro_f1`."""
    return metric.replace("-", "_")


def shown(metric: Metric, score: float) -> str:
    """Return a score for people: shares with four decimals, errors in their units as they come."""
    return f"{score:.4g}" if metric in MINIMISED else f"{score:.4f}"


def loss_misfit(task: Task, loss: Loss) -> str | None:
    """Return why a loss cannot teach a task, and which can; None where it can."""
    if loss in TASKS[task].losses:
        return None
    return (
        f"{loss} does not fit a {task} task: {WHAT_A_LOSS_ASKS[loss]}; "
        f"use {' or '.join(TASKS[task].losses)}"
    )


def metric_misfit(task: Task, metric: Metric) -> str | None:
    """Return why a metric cannot judge a task, and which can; None where it can."""
    if metric in TASKS[task].metrics:
        return None
    return (
        f"{metric} does not fit a {task} task: {WHAT_A_METRIC_ASKS[metric]}; "
        f"use {' or '.join(TASKS[task].metrics)}"
    )


def smoothing_misfit(loss: Loss) -> str | None:
    """Return why labels cannot be smoothed for a loss, None where they can."""
    if loss == "cross-entropy":
        return None
    return f"label_smoothing is for cross-entropy alone, and the loss is {loss}; set it to 0"
