"""Training from an exported file alone, and what to say of the score it gives this time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpsearch.data.prepare import prepare
from hpsearch.data.sources.decoded import Progress
from hpsearch.errors import DataError, StudyFileError
from hpsearch.evaluation.exported import Exported
from hpsearch.evaluation.networks import train_again
from hpsearch.machine.children import check_device_name, in_child, is_processor
from hpsearch.machine.files import check_writable
from hpsearch.models.cost import cost
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import infeasible, machine_memory_bytes
from hpsearch.study.goals import Goals
from hpsearch.study.tasks import key_of

IDENTICAL, WITHIN, DIFFERS = "identical", "within seed noise", "differs"


def train_exported(
    exported: Exported,
    data_root: str | Path | None,
    device: str,
    weights: Path | None,
    decoding: Progress,
    epoch: Callable[[dict[str, Any]], None],
    check: bool = False,
) -> dict[str, Any]:
    """Return the scores of an exported configuration trained again on the same data.

    `verdict` compares the test metric with the recorded one: identical, which it is on the same
    machine with the same packages and thread count; within seed noise; or differs, and `because`
    names what does. It is None where nothing can be compared. With `check`, train alone is taught,
    whatever the exported weights were taught with. Raises DataError where the data is not the same,
    and StudyFileError where there is nothing to check.
    """
    check_device_name(device)
    if weights is not None:
        check_writable(weights)
    config, recorded = exported.config, exported.recorded.test_score(exported.config.metric)
    if check and recorded is None:
        raise StudyFileError("the file records no test score to check; export a trial that has one")
    prepared = prepare(config.data, data_root, decoding)
    if prepared.fingerprint != config.data.fingerprint:
        raise DataError(
            f"{'differs, because the data does: it' if check else 'the data at hand'} is not the "
            f"data of this export: fingerprint {prepared.fingerprint[:12]}, not "
            f"{config.data.fingerprint[:12]}; say with --data where the same images lie"
        )
    shape, outputs = ImageShape(*prepared.image_shape), len(prepared.outputs)
    memory_bytes = machine_memory_bytes() if is_processor(device) else None
    refused = infeasible(cost(config, shape, outputs), config, Goals(), memory_bytes)
    if refused is not None:
        raise StudyFileError(f"the configuration cannot be trained here: {refused.reason}")
    train_on = "train" if check else exported.train_on
    scores: dict[str, Any] = in_child(
        train_again, config, prepared.folder, device, weights, train_on,
        threads=config.threads, hear=epoch,
    )  # fmt: skip
    key = key_of(config.metric)
    if scores["test"] is None:
        again = None
    elif exported.recorded.state == "complete":
        again = scores["test"][key]
    else:  # it was pruned, and its score is that of its last epoch
        epochs = exported.recorded.epochs
        again = scores["curve"][epochs - 1]["test_metric"] if epochs else None
    found = {f"recorded_test_{key}": recorded, "identical": again == recorded}
    return {**scores, **found, **verdict(exported, again, scores)}


def verdict(exported: Exported, again: float | None, scores: dict[str, Any]) -> dict[str, Any]:
    """Return whether a score is the recorded one, up to what noise, and what differs if not."""
    recorded = exported.recorded.test_score(exported.config.metric)
    if recorded is None or again is None:
        return {"verdict": None, "noise": None, "noise_of": None, "because": []}
    noise, noise_of = _noise(exported, scores)
    because = [] if again == recorded else _differences(exported, scores)
    found = IDENTICAL if again == recorded else DIFFERS
    if found == DIFFERS and abs(again - recorded) <= noise:
        found = WITHIN
    return {"verdict": found, "noise": noise, "noise_of": noise_of, "because": because}


def _noise(exported: Exported, scores: dict[str, Any]) -> tuple[float, str]:
    """Return by how much two trainings may differ by chance (95 %), and what that was taken from.

    Without recorded seeds it is half the interval of the test score: what another draw of as many
    images would do.
    """
    seeds, sd = exported.recorded.seeds, exported.recorded.seed_sd
    if seeds is not None and sd is not None and seeds > 1:
        from scipy import stats  # half a second to import

        limit = float(stats.t.ppf(0.975, seeds - 1)) * sd * math.sqrt(2)
        return limit, f"{seeds} trainings with other seeds"
    test = scores["test"]
    words = f"{test['images']} test images, for no other seeds are recorded"
    if test["interval"] is None:
        return 0.0, words
    score, (low, high) = test[key_of(exported.config.metric)], test["interval"]
    return float(max(high - score, score - low)), words


def _differences(exported: Exported, scores: dict[str, Any]) -> list[str]:
    """Return what differs from when the score was recorded; the data does not, or it had said."""
    then, now = exported.versions, scores["versions"]
    versions = [
        f"{name} was {then[name]}, now {now.get(name, 'missing')}"
        for name in then
        if then[name] != now.get(name)
    ]
    found = [f"versions ({'; '.join(versions)})"] if versions else []
    if exported.recorded.device != scores["device"]:
        found.append(f"device (was {exported.recorded.device}, now {scores['device']})")
    return found
