"""The one place where a trial of Optuna's and a training meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import torch
from optuna.trial import Trial

from hpsearch.data.prepared import SearchData
from hpsearch.models.cost import cost
from hpsearch.models.head import ImageShape
from hpsearch.study.spec import StudySpec, config_from
from hpsearch.training.loop import Epoch, train


def objective(
    trial: Trial,
    spec: StudySpec,
    data: SearchData,
    device: torch.device,
    interrupted: Callable[[], bool],
) -> float:
    """Return the **test** metric of a trial's last epoch; every epoch's is reported to the pruner.

    Raises TrialPruned with a reason, and Interrupted when `interrupted()` turns true.
    """
    config = config_from(spec, data.fingerprint, trial)
    price = cost(config, ImageShape(*data.image_shape), len(data.classes))
    trial.set_user_attr("parameters", price.parameters)
    trial.set_user_attr("forward_flops", price.forward_flops)
    curve: list[dict[str, Any]] = []
    for epoch, _ in train(config, data, device, interrupted):
        curve.append(recorded(epoch))
        trial.set_user_attr("curve", curve)
        trial.set_user_attr("duration_s", round(sum(e["duration_s"] for e in curve), 3))
        trial.report(epoch.test_metric, epoch.number)
        if epoch.diverged:
            raise optuna.TrialPruned(f"the loss was no finite number after epoch {epoch.number}")
        if trial.should_prune():
            raise optuna.TrialPruned(
                f"test accuracy {epoch.test_metric:.4f} after epoch {epoch.number} was too low "
                f"for the {spec.search.pruner.name} pruner"
            )
    return epoch.test_metric


def recorded(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch as trials store it: plain numbers, losses that are none as None."""

    def finite(number: float) -> float | None:
        return number if abs(number) < float("inf") else None

    return {
        "epoch": epoch.number,
        "train_loss": finite(epoch.train_loss),
        "train_metric": finite(epoch.train_metric),
        "test_loss": finite(epoch.test_loss),
        "test_metric": finite(epoch.test_metric),
        "duration_s": round(epoch.duration_s, 3),
    }
