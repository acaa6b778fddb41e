"""The final: the chosen configuration trained again, and the validation split opened for it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from hpsearch.data.batches import resident
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import HpsearchError
from hpsearch.results.measured import interval, measured
from hpsearch.results.weights import save_model
from hpsearch.search.objective import recorded
from hpsearch.search.processes import Tell, device_named, user_name
from hpsearch.search.storage import open_storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import key_of
from hpsearch.training.loop import evaluate, never, outputs_of, train
from hpsearch.training.state import Training


def train_again(
    tell: Tell, config: TrialConfig, prepared: Path, device_name: str, weights: Path | None
) -> dict[str, Any]:
    """Train a configuration to its end, tell every epoch, save the weights; return all scores."""
    _, scores = _trained(tell, config, load_search_data(prepared), device_name, weights)
    return scores


def _trained(
    tell: Tell, config: TrialConfig, data: SearchData, device_name: str, weights: Path | None
) -> tuple[Training, dict[str, Any]]:
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
    task, key, result = training.task, key_of(config.metric), training.result
    taught = evaluate(model, resident(data.train, data, device), config, task)
    test = resident(data.test, data, device)
    told = task.told(outputs_of(model, test, config))
    scores = {
        "curve": curve,
        "epoch": result.number,
        "train": {"images": len(data.train), "loss": taught[0], key: taught[1]},
        "test": {
            "images": len(data.test),
            "loss": result.test_loss,
            key: result.test_metric,
            "interval": interval(task.name, config.metric, told, test.targets),
        },
    }
    return training, scores


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
        training, result = _trained(tell, config, data, device_name, weights)
        if opening_id is None:
            who = f"{user_name()}@{socket.gethostname()}"
            opening_id = storage.openings.write(study, data.fingerprint, trial_number, who, why)
        sealed = resident(open_sealed(prepared), data, training.device)
        outputs = outputs_of(training.model, sealed, config)
        result["validation"] = measured(training.task, config, outputs, sealed.targets)
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
