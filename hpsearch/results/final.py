"""The final: the chosen configuration trained again, and the validation split opened for it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from hpsearch.data.batches import resident
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import HpsearchError
from hpsearch.results.intervals import wilson_interval
from hpsearch.results.weights import save_model
from hpsearch.search.objective import recorded
from hpsearch.search.processes import Tell, device_named, user_name
from hpsearch.search.storage import open_storage
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import evaluate, logits_of, never, train


def train_again(
    tell: Tell, config: TrialConfig, prepared: Path, device_name: str, weights: Path | None
) -> dict[str, Any]:
    """Train a configuration to its end, tell every epoch, save the weights; return all scores."""
    _, _, scores = _trained(tell, config, load_search_data(prepared), device_name, weights)
    return scores


def _trained(
    tell: Tell, config: TrialConfig, data: SearchData, device_name: str, weights: Path | None
) -> tuple[Any, Any, dict[str, Any]]:
    device = device_named(device_name)
    curve = []
    for epoch, training in train(config, data, device):  # noqa: B007 - the last one is kept
        curve.append(recorded(epoch))
        tell(curve[-1])
    if epoch.diverged:
        raise HpsearchError("the training diverged: its loss is no finite number any more")
    model = training.model
    if weights is not None:
        save_model(weights, model, config, data)
    train_loss, train_accuracy = evaluate(model, resident(data.train, data, device), config)
    scores = {
        "curve": curve,
        "train": {"images": len(data.train), "loss": train_loss, "accuracy": train_accuracy},
        "test": {
            "images": len(data.test),
            "loss": epoch.test_loss,
            "accuracy": epoch.test_metric,
            "interval": interval(round(epoch.test_metric * len(data.test)), len(data.test)),
        },
    }
    return model, device, scores


def run_final(
    tell: Tell,
    storage_url: str,
    study: str,
    trial_number: int,
    config: TrialConfig,
    prepared: Path,
    device_name: str,
    weights: Path,
    why: str,
    opening_id: int | None,
) -> dict[str, Any]:
    """Train the choice again, save it, and measure it on validation; return all that was found.

    The ledger hears of the opening before a validation image is read. `opening_id` continues an
    opening whose measurement did not end. Runs in a process of its own.
    """
    storage = open_storage(storage_url, create=False, gives_up=never)  # found wrong now, not later
    try:
        data = load_search_data(prepared)
        model, device, result = _trained(tell, config, data, device_name, weights)
        if opening_id is None:
            who = f"{user_name()}@{socket.gethostname()}"
            opening_id = storage.openings.write(study, data.fingerprint, trial_number, who, why)
        sealed = open_sealed(prepared)
        logits = logits_of(model, resident(sealed, data, device), config)
        probabilities = logits.double().softmax(1).cpu().numpy()
        result["validation"] = measured(sealed.targets, probabilities, len(data.outputs))
        result |= {
            "trial": trial_number,
            "outputs": data.outputs,
            "config": config.model_dump(),
            "weights": f"{socket.gethostname()}:{weights.absolute()}",
        }
        storage.openings.write_result(opening_id, result)
    finally:
        storage.close()
    return result


def measured(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], classes: int
) -> dict[str, Any]:
    """Return accuracy with its interval, loss, confusion matrix and per-class scores.

    `targets` is `(N,)`, `probabilities` `(N, classes)`; row i of the confusion matrix holds the
    images of class i, column j those that were called j.
    """
    called = probabilities.argmax(1)
    hits = int((called == targets).sum())
    labels = list(range(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, called, labels=labels, zero_division=0
    )
    rows = zip(precision, recall, f1, support, strict=True)
    return {
        "images": len(targets),
        "loss": float(log_loss(targets, probabilities, labels=labels)),
        "accuracy": hits / len(targets),
        "interval": interval(hits, len(targets)),
        "confusion": confusion_matrix(targets, called, labels=labels).tolist(),
        "per_class": [
            {"precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
            for p, r, f, n in rows
        ],
    }


def interval(hits: int, images: int) -> tuple[float, float]:
    """Return the Wilson score interval (95 %) of an accuracy of `hits` in `images`."""
    low, high = wilson_interval(hits, images)
    return float(low), float(high)
