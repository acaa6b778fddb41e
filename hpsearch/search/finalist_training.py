"""Training a finalist again: its configuration with another seed, to the last epoch."""

from __future__ import annotations

import base64
import logging
import traceback
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.data.batches import resident
from hpsearch.search.attempt import Attempt, Ended, device_name
from hpsearch.search.finalist_statistics import RESAMPLES
from hpsearch.search.objective import recorded
from hpsearch.search.runner import LONGEST_REASON, LONGEST_TRACEBACK, TrialRunner
from hpsearch.search.samplers import seed_of
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.leases import MAX_ATTEMPTS, Lease
from hpsearch.storage.records import ConfirmationRecord
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import config_from
from hpsearch.training.loop import outputs_of
from hpsearch.training.metrics import SCORERS, drawn
from hpsearch.training.state import Training

logger = logging.getLogger(__name__)

SEED_STREAM = 2  # of `seed_of`; 0 samples and 1 trains in the search
RESAMPLING_SEED = 0  # the same images are drawn for every training, so that scores can be compared
NUMBERS_AT_ONCE = 2**22  # of resampled weights, so that memory stays small


def retrain(runner: TrialRunner, lease: Lease) -> None:
    """Train the finalist of a lease and write down what it came to, or give the lease back."""
    name = runner.spec.name
    trials = runner.storage.known(name).get_trials(deepcopy=False)
    trial = next(t for t in trials if t.user_attrs.get("slot") == lease.slot)
    config = config_from(runner.spec, runner.data.fingerprint, trial)
    seed = seed_of(runner.spec.search.seed, lease.slot, stream=SEED_STREAM + lease.repeat)
    config = config.model_copy(update={"seed": seed})
    if lease.attempts > MAX_ATTEMPTS:
        reason = f"{MAX_ATTEMPTS} workers died on this training, one after the other"
        runner.storage.confirmations.write(
            lease, trial.number, ConfirmationRecord(reason=reason, seed=seed)
        )
        return
    logger.info("trial %d of '%s' is trained again, seed %d", trial.number, name, lease.repeat + 1)
    with HeldLease(runner.storage.leases, lease) as held:
        attempt = Attempt(
            runner.data,
            runner.device,
            held,
            runner.checkpoints,
            name,
            lease.training,
            runner.stopped,
            runner.spec.search.trial_timeout,
            runner.epoch_over,
        )
        result = _result(attempt, trial.number, config)
        if result is None:
            runner.storage.leases.give_back(lease)  # does nothing where the lease was lost
        elif runner.storage.confirmations.write(lease, trial.number, result):
            logger.info("trial %d of '%s', seed %d: ended", trial.number, name, lease.repeat + 1)
            attempt.drop(config)


def _result(attempt: Attempt, number: int, config: TrialConfig) -> ConfirmationRecord | None:
    """Return what a training comes to, None where it is to go on at another worker."""
    about: dict[str, Any] = {"seed": config.seed, "device": device_name(attempt.device)}
    try:
        ended = attempt.train(config)
        if ended is None:
            return None
        return ConfirmationRecord.model_validate(about | _written(attempt, ended))
    except DATABASE_ERRORS:
        raise  # the storage's fault, not the training's
    except Exception as error:  # whatever it was, it is recorded, and the worker goes on
        reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        logger.error("trial %d, trained again, failed: %s", number, reason)
        trace = traceback.format_exc()[-LONGEST_TRACEBACK:]
        return ConfirmationRecord(reason=reason, traceback=trace, **about)


def _written(attempt: Attempt, ended: Ended) -> dict[str, Any]:
    """Return how a training ended, as plain data."""
    config, training = ended.config, ended.training
    found: dict[str, Any] = {"curve": [recorded(epoch) for epoch in ended.epochs]}
    if config.micro_batches > 1:
        found["micro_batches"] = config.micro_batches
    if ended.infeasible is not None:
        found["infeasible"] = ended.infeasible
    if training is None:
        return found | {"reason": ended.reason}
    test = resident(attempt.data.test, attempt.data, attempt.device)
    outputs = outputs_of(training.model, test, config)
    found["score"] = training.result.test_metric
    found["epoch"] = training.result.number
    found["duration_s"] = round(sum(e.duration_s for e in ended.epochs), 3)
    groups = attempt.data.test.groups
    return found | by_image(training, config, outputs, test.targets, groups)


def by_image(
    training: Training,
    config: TrialConfig,
    outputs: Tensor,
    targets: Tensor,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return what tells how much a score moves with the choice of test images, as plain data.

    Of an accuracy: which images were predicted right, a bit each. Of another metric: its scores of
    resamples of the images, or of their groups, the same resamples in every training.
    """
    predictions = training.task.predictions(outputs)
    found: dict[str, Any] = {"images": len(targets)}
    if groups is not None:  # numbered from 0 on; neighbours are of one group, and it packs well
        groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
        packed = zlib.compress(groups.astype("<u4").tobytes())
        found["groups"] = base64.b64encode(packed).decode()
    if config.metric == "accuracy":
        right = (predictions.argmax(1) == targets).cpu().numpy()
        return found | {"correct": base64.b64encode(np.packbits(right).tobytes()).decode()}
    scores = resampled(config, predictions.cpu(), targets.cpu(), groups)
    return found | {"resampled": base64.b64encode(scores.astype("<f4").tobytes()).decode()}


def resampled(
    config: TrialConfig,
    predictions: Tensor,
    targets: Tensor,
    groups: NDArray[np.int64] | None = None,
) -> np.ndarray[Any, Any]:
    """Return the metric of `RESAMPLES` resamples of the images `(RESAMPLES,)`.

    Where images come in `groups` `(N,)`, from 0 on, groups are drawn, with all of their images.
    """
    images, rng = len(targets), np.random.default_rng(RESAMPLING_SEED)
    units = images if groups is None else int(groups.max()) + 1
    measure = SCORERS[config.task, config.metric].whole
    at_once = max(1, NUMBERS_AT_ONCE // images)
    scores = []
    for start in range(0, RESAMPLES, at_once):
        rows = rng.integers(units, size=(min(at_once, RESAMPLES - start), units))
        weights = drawn(torch.from_numpy(rows), units)
        if groups is not None:
            weights = weights[:, torch.from_numpy(groups)]
        scores.append(measure(predictions, targets, weights).numpy())
    return np.concatenate(scores)
