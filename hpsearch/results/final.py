"""The final: the chosen configuration trained again, and the validation split opened for it."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from optuna.trial import FrozenTrial
from torch import Tensor, nn

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import HpsearchError
from hpsearch.results.calibration import calibration, temperature
from hpsearch.results.export import package_versions
from hpsearch.results.luck import confirmed, search_luck
from hpsearch.results.measured import gained, interval, measured
from hpsearch.results.mistakes import SHEET, worst_mistakes, write_mistakes
from hpsearch.results.residuals import PLOT, write_residuals
from hpsearch.results.weights import load_model, probabilities_of, save_model
from hpsearch.search.attempt import device_name as name_of_device
from hpsearch.search.baseline import baseline_of, trained_at_once, whole_training_s
from hpsearch.search.objective import recorded
from hpsearch.search.processes import Tell, device_named, in_child, user_name
from hpsearch.search.storage import open_storage
from hpsearch.search.studies import OpenStudy, read_stored_study
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import Final
from hpsearch.study.tasks import key_of
from hpsearch.training.loop import evaluate, never, outputs_of, train
from hpsearch.training.tasks import LearningTask, task_for

BASELINE_WEIGHTS = ".baseline.safetensors"

TrainOn = Literal["train", "train+test"]


@dataclass(frozen=True)
class Trained:
    """A trained network and its scores; `test_told` is None where it is not known."""

    config: TrialConfig
    model: nn.Module
    task: LearningTask
    device: torch.device
    scores: dict[str, Any]
    test_told: Tensor | None = None


def train_again(
    tell: Tell,
    config: TrialConfig,
    prepared: Path,
    device_name: str,
    weights: Path | None,
    train_on: TrainOn = "train",
) -> dict[str, Any]:
    """Train a configuration to its end, tell every epoch, save the weights; return all scores."""
    data = load_search_data(prepared)
    trained = _trained(tell, config, data, device_name, train_on)
    if weights is not None:
        save_model(weights, trained.model, config, data)
    return trained.scores


def _trained(
    tell: Tell, config: TrialConfig, data: SearchData, device_name: str, train_on: TrainOn
) -> Trained:
    device, alone = device_named(device_name), train_on == "train"
    taught = data if alone else _with_test_taught(data)
    curve = []
    for epoch, training in train(config, taught, device):  # noqa: B007 - the last one is kept
        curve.append(recorded(epoch))
        if not alone:  # of images that it was taught
            curve[-1] |= {"test_loss": None, "test_metric": None}
        tell(curve[-1])
    if epoch.diverged:
        raise HpsearchError("the training diverged: its loss is no finite number any more")
    task, key, result = training.task, key_of(config.metric), training.result
    learned = evaluate(training.model, resident(taught.train, taught, device), config, task)
    scores: dict[str, Any] = {
        "curve": curve,
        "epoch": result.number,
        "train_on": train_on,
        "device": name_of_device(device),
        "versions": package_versions(),
        "train": {"images": len(taught.train), "loss": learned[0], key: learned[1]},
        "test": None,
    }
    if not alone:
        return Trained(config, training.model, task, device, scores)
    test = resident(data.test, data, device)
    told = task.told(outputs_of(training.model, test, config))
    scores["test"] = {
        "images": len(data.test),
        "loss": result.test_loss,
        key: result.test_metric,
        "interval": interval(task.name, config.metric, told, test.targets),
    }
    return Trained(config, training.model, task, device, scores, told)


def _with_test_taught(data: SearchData) -> SearchData:
    """Return data whose train split holds test, too; it is normalised as train alone is."""
    parts = (data.train, data.test)
    images = np.concatenate([part.images for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    return dataclasses.replace(data, train=Labelled(images, targets))


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

    What else is asked of the final stands in the study: with a baseline, two networks are trained
    before the seal is opened, once for both. The ledger hears of the opening before a validation
    image is read. `opening_id` continues an opening whose measurement did not end. Runs in a
    process of its own.
    """
    storage = open_storage(storage_url, create=False, gives_up=never)  # found wrong now, not later
    try:
        stored, data = read_stored_study(storage, study), load_search_data(prepared)
        beside = baseline_of(stored.spec, stored.trials) if stored.spec.final.baseline else None
        if beside is not None and beside.number == trial_number:
            beside = None
        row = storage.ledger.study(study)
        left_s = None if row is None else row.time_left_s
        choice, heat, baseline = _train_both(
            tell, stored, config, beside, data, prepared, device_name, weights, left_s
        )
        if opening_id is None:
            who = f"{user_name()}@{socket.gethostname()}"
            if isinstance(baseline, Trained) and beside is not None:
                why += f"; beside it the default configuration, trial {beside.number}"
            opening_id = storage.openings.write(
                study, data.fingerprint, trial_number, who, why, config.model_dump(mode="json")
            )
        sealed = open_sealed(prepared)
        result = choice.scores | {"trial": trial_number, "outputs": data.outputs}
        result |= _judged(choice, sealed, data, heat, weights.parent)
        result["search"] = search_luck(stored, choice.scores["test"], len(data.test))
        result["confirm"] = confirmed(stored, trial_number)
        result["baseline"] = _compared(baseline, beside, choice, sealed, data)
        result |= {
            "config": config.model_dump(),
            "weights": f"{socket.gethostname()}:{weights.absolute()}",
        }
        storage.openings.write_result(opening_id, result)
    finally:
        storage.close()
    return result


def _train_both(
    tell: Tell,
    study: OpenStudy,
    config: TrialConfig,
    beside: FrozenTrial | None,
    data: SearchData,
    prepared: Path,
    device_name: str,
    weights: Path,
    left_s: float | None,
) -> tuple[Trained, float | None, Trained | str | None]:
    """Return the choice trained and saved, its temperature, and the baseline; at once on a CPU."""
    tell, given_up, began = _one_at_a_time(tell), threading.Event(), time.monotonic()

    def train_baseline() -> Trained | str | None:
        place, spent_s = weights.with_name(BASELINE_WEIGHTS), time.monotonic() - began
        left = None if left_s is None else left_s - spent_s
        return _baseline(tell, study, beside, prepared, device_name, left, place, given_up.is_set)

    with ThreadPoolExecutor(1) as aside:
        at_once = trained_at_once(device_named(device_name).type)
        begun = aside.submit(train_baseline) if at_once else None
        try:
            choice = _trained(tell, config, data, device_name, study.spec.final.train_on)
            heat = _temperature(study.spec.final, choice, data)
            save_model(weights, choice.model, config, data, heat)
            baseline = train_baseline() if begun is None else begun.result()
        except BaseException:
            given_up.set()
            raise
    return choice, heat, baseline


def _temperature(asked: Final, choice: Trained, data: SearchData) -> float | None:
    """Return the temperature fitted on **test**, None where none is asked for."""
    if not asked.temperature or choice.test_told is None:
        return None
    return temperature(choice.test_told.cpu().numpy(), np.asarray(data.test.targets))


def _baseline(
    tell: Tell,
    study: OpenStudy,
    trial: FrozenTrial | None,
    prepared: Path,
    device_name: str,
    left_s: float | None,
    weights: Path,
    given_up: Callable[[], bool],
) -> Trained | str | None:
    """Return the default configuration trained, or why it could not be; None without one.

    In a process of its own, so that the choice can be trained meanwhile; its weights pass through
    a file that is not kept.
    """
    if trial is None:
        return None
    if left_s is not None and left_s < whole_training_s(study.spec, trial):
        return "the study's timeout leaves no time for it"
    config = study.config(trial)
    try:
        scores = in_child(
            train_again, config, prepared, device_name, weights, study.spec.final.train_on,
            threads=config.threads, hear=lambda epoch: tell(epoch | {"baseline": True}),
            interrupted=given_up,
        )  # fmt: skip
        device = device_named(device_name)
        model = load_model(weights).model.to(device)
    except HpsearchError as error:  # the choice is not to suffer from it
        return str(error)
    finally:
        weights.unlink(missing_ok=True)
    return Trained(
        config, model, task_for(config, load_search_data(prepared), device), device, scores
    )


def _one_at_a_time(tell: Tell) -> Tell:
    """Return what tells the same, though threads tell at once."""
    lock = threading.Lock()

    def told(message: object) -> None:
        with lock:
            tell(message)

    return told


def _validation_told(trained: Trained, sealed: Labelled, data: SearchData) -> tuple[Tensor, Tensor]:
    split = resident(sealed, data, trained.device)
    return outputs_of(trained.model, split, trained.config), split.targets


def _judged(
    choice: Trained, sealed: Labelled, data: SearchData, heat: float | None, folder: Path
) -> dict[str, Any]:
    """Return what validation says of the choice; pictures of its errors go into `folder`."""
    config, task = choice.config, choice.task
    outputs, targets = _validation_told(choice, sealed, data)
    found = measured(task, config, outputs, targets)
    found["outputs_sha256"] = digest(outputs)
    told = task.told(outputs).cpu().numpy()
    result: dict[str, Any] = {"validation": found}
    if config.task == "regression":
        write_residuals(folder / PLOT, data.outputs, told, np.asarray(sealed.targets))
    else:
        result["calibration"] = _calibration(config, told, np.asarray(sealed.targets), heat)
    result["mistakes"] = worst_mistakes(config, told, sealed, data, heat or 1.0)
    if not data.symbols:
        write_mistakes(folder / SHEET, sealed, result["mistakes"])
    return result


def digest(outputs: Tensor) -> str:
    """Return what tells outputs from others that differ in a single bit."""
    return hashlib.sha256(outputs.cpu().contiguous().numpy().tobytes()).hexdigest()


def _calibration(
    config: TrialConfig, logits: np.ndarray[Any, Any], targets: Any, heat: float | None
) -> dict[str, Any]:
    plain = calibration(probabilities_of(config.task, logits, 1.0), targets)
    found = dataclasses.asdict(plain) | {"temperature": heat}
    if heat is not None:
        mended = calibration(probabilities_of(config.task, logits, heat), targets)
        found["mended"] = {"error": mended.error, "by_chance": mended.by_chance}
    return found


def _compared(
    baseline: Trained | str | None,
    trial: FrozenTrial | None,
    choice: Trained,
    sealed: Labelled,
    data: SearchData,
) -> dict[str, Any] | None:
    """Return what validation says of the baseline, and what the choice gained over it."""
    if baseline is None or trial is None:
        return None
    if isinstance(baseline, str):
        return {"trial": trial.number, "failed": baseline}
    config, task = baseline.config, baseline.task
    outputs, targets = _validation_told(baseline, sealed, data)
    found = measured(task, config, outputs, targets)
    mine = choice.task.told(_validation_told(choice, sealed, data)[0])
    gain, bounds = gained(task.name, config.metric, mine, task.told(outputs), targets)
    kept = ("images", "loss", key_of(config.metric), "interval")
    return {
        "trial": trial.number,
        "test": baseline.scores["test"],
        "validation": {name: found[name] for name in kept},
        "gain": gain,
        "gain_interval": bounds,
        "curve": baseline.scores["curve"],
    }
