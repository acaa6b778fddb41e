"""Whether a kept state is one of the training that is to go on from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from hpsearch.data.batches import batches_in_epoch
from hpsearch.data.prepared import SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.training.state import PREDICTED, Epoch, State, Training, begin


def check_fits(state: State, config: TrialConfig, data: SearchData, device: torch.device) -> None:
    """Raise ValueError where `state` is not of a training of this configuration on this data.

    Nothing is missing from one that is, nothing is there besides, and all has the kind and the
    shape that `Training.restore` and the batches after it need.
    """
    images = config.images_in_epoch(len(data.train))
    batches = batches_in_epoch(images, config.batch_size)
    fresh = begin(config, data, device, batches)
    expected = fresh.state()
    if state.keys() != expected.keys():
        raise _Misfit("its parts", state.keys() ^ expected.keys())
    for name in ("images", "model", "sums"):
        _check_like(state[name], expected[name], name)
    if state["images"] != expected["images"]:
        raise _Misfit("images", state["images"])
    _check_progress(state, config, batches, min(config.batch_size, images))
    _check_optimizer(state["optimizer"], fresh)
    _check_like(state["schedule"], expected["schedule"], "schedule")
    if fresh.schedule.by_batch is not None:
        over = len(state["epochs"]) * batches + state["batches"]
        if state["schedule"]["last_epoch"] != over:
            raise _Misfit("schedule.last_epoch", state["schedule"]["last_epoch"])
    _check_like(state["averaged"], expected["averaged"], "averaged")
    if config.early_stopping is not None and state["epochs"]:
        _check_like(state["best"], expected["model"], "best")
    elif state["best"] is not None:
        raise _Misfit("best", state["best"])
    _check_predicted(state, fresh)
    _check_generator(state, device)


class _Misfit(ValueError):
    """A part of a state that does not fit."""

    def __init__(self, where: str, found: object) -> None:
        shown = f"{type(found).__name__}{tuple(found.shape) if isinstance(found, Tensor) else ''}"
        plain = found if isinstance(found, int | float | set) else shown
        super().__init__(f"does not fit: {where} ({plain})"[:200])


def _check_like(found: Any, expected: Any, where: str) -> None:
    """Raise _Misfit where something is not built as what is expected, whatever its numbers."""
    if isinstance(expected, Tensor):
        same = isinstance(found, Tensor) and (found.shape, found.dtype) == (
            expected.shape,
            expected.dtype,
        )
        if not same:
            raise _Misfit(where, found)
    elif isinstance(expected, Mapping):
        if not isinstance(found, Mapping) or found.keys() != expected.keys():
            raise _Misfit(where, found)
        for name, part in expected.items():
            _check_like(found[name], part, f"{where}.{name}")
    elif isinstance(expected, list | tuple):
        if type(found) is not type(expected) or len(found) != len(expected):
            raise _Misfit(where, found)
        for number, part in enumerate(expected):
            _check_like(found[number], part, f"{where}.{number}")
    elif type(found) is not type(expected):
        raise _Misfit(where, found)


def _check_progress(state: State, config: TrialConfig, batches: int, size: int) -> None:
    epochs = state["epochs"]
    if type(epochs) is not list or len(epochs) > config.epochs:
        raise _Misfit("epochs", epochs)
    for number, epoch in enumerate(epochs, start=1):
        names = [field.name for field in fields(Epoch)]
        if type(epoch) is not dict or list(epoch) != names:
            raise _Misfit(f"epochs.{number}", epoch)
        if type(epoch["number"]) is not int or epoch["number"] != number:
            raise _Misfit(f"epochs.{number}.number", epoch["number"])
        for name in names[1:]:
            if type(epoch[name]) is not float:
                raise _Misfit(f"epochs.{number}.{name}", epoch[name])
    over, seen, elapsed_s = state["batches"], state["seen"], state["elapsed_s"]
    if type(over) is not int or not 0 <= over <= batches:
        raise _Misfit("batches", over)
    if type(seen) is not int or seen != over * size:
        raise _Misfit("seen", seen)
    if type(elapsed_s) is not float or not (math.isfinite(elapsed_s) and elapsed_s >= 0):
        raise _Misfit("elapsed_s", elapsed_s)


def _check_optimizer(found: Any, fresh: Training) -> None:
    """Raise _Misfit where an optimizer could not go on with these states of its parameters."""
    expected = fresh.optimizer.state_dict()
    _check_like(
        {**found, "state": {}} if isinstance(found, Mapping) else found, expected, "optimizer"
    )
    states = found["state"]
    if type(states) is not dict:
        raise _Misfit("optimizer.state", states)
    numbers = [group["params"] for group in expected["param_groups"]]
    known = {number for group in numbers for number in group}
    if states and states.keys() != known:  # every parameter has moved, or none
        raise _Misfit("optimizer.state", states.keys() ^ known)
    for group, moved in zip(fresh.optimizer.param_groups, numbers, strict=True):
        for parameter, number in zip(group["params"], moved, strict=True):
            if states:
                like = _moments(fresh.config, parameter)
                _check_like(states[number], like, f"optimizer.state.{number}")


def _moments(config: TrialConfig, parameter: Tensor) -> dict[str, Tensor]:
    if config.optimizer == "sgd":
        return {"momentum_buffer": parameter.detach()}
    step = torch.zeros((), dtype=torch.float32)
    return {"step": step, "exp_avg": parameter.detach(), "exp_avg_sq": parameter.detach()}


def _check_predicted(state: State, fresh: Training) -> None:
    """Raise _Misfit where the outputs and targets that a metric needs whole are not there."""
    predictions, wanted = state[PREDICTED], state["seen"] > 0 and fresh.task.scorer.summed is None
    if not wanted:
        if predictions is not None:
            raise _Misfit(PREDICTED, predictions)
        return
    pair = isinstance(predictions, tuple | list) and len(predictions) == 2
    if not pair or not all(isinstance(t, Tensor) and t.ndim for t in predictions):
        raise _Misfit(PREDICTED, predictions)
    outputs, targets = predictions
    if {len(outputs), len(targets)} != {state["seen"]} or outputs.dtype != torch.float32:
        raise _Misfit(PREDICTED, outputs)


def _check_generator(state: State, device: torch.device) -> None:
    kept = state["generator"]
    if (kept is None) != (state["batches"] == 0):
        raise _Misfit("generator", kept)
    if kept is not None:
        _check_like(kept, torch.Generator(device).get_state(), "generator")
        try:
            torch.Generator(device).set_state(kept.cpu())
        except Exception:  # whatever torch makes of no state, or of another device's
            raise _Misfit("generator", kept) from None
