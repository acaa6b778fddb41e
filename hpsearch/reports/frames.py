"""A stored study as pandas frames: its trials, and the epochs of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpsearch.reports.front import on_fronts
from hpsearch.search.kinds import kind_of
from hpsearch.search.progress import epochs_of
from hpsearch.search.stored_study import OpenStudy, read_stored_study
from hpsearch.storage.defaults import DEFAULT_STORAGE
from hpsearch.storage.storage import opened_storage
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import key_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudyFrames:
    """A study as it stood in the storage when it was read.

    `trials` has a row for each trial whose configuration is complete: number, state, kind (how it
    ended), test score (in the metric's own unit), epochs run, seconds, parameters, FLOPs of one
    image forward, its milliseconds where they were measured, `front` (of which of these it is
    among the best for its size), device, why it ended early, and every hyperparameter. `epochs` has
    a row for each epoch of each: losses and metrics on train and test, and seconds.
    """

    spec: StudySpec
    trials: pd.DataFrame
    epochs: pd.DataFrame

    @property
    def name(self) -> str:
        return self.spec.name


def open_study(name: str, storage: str = DEFAULT_STORAGE) -> StudyFrames:
    """Return the trials and epochs of a stored study as pandas frames.

    `storage` is a URL, as `--storage` takes it. Raises StudyNotFoundError, which names the studies
    there are, and StorageError.
    """
    with opened_storage(storage) as opened:
        study = read_stored_study(opened, name)
    return StudyFrames(study.spec, trials_frame(study), epochs_frame(study))


def trials_frame(study: OpenStudy) -> pd.DataFrame:
    """Return a row for each trial: state, score, cost, hyperparameters."""
    import pandas as pd  # half a second to import, and needed here alone

    rows: list[dict[str, Any]] = []
    on_front = on_fronts(study)
    for trial in study.sampled():
        config = study.config(trial).model_dump(mode="json", exclude={"data", "pretrained"})
        record = study.record(trial)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "kind": kind_of(trial),
                f"test_{key_of(study.spec.metric)}": trial.value,
                "epochs_run": epochs_of(trial),
                "duration_s": record.duration_s,
                "parameters": record.parameters,
                "forward_flops": record.forward_flops,
                "latency_ms": record.latency_ms,
                "front": on_front.get(trial.number),
                "device": record.device,
                "reason": record.reason,
                **config,
            }
        )
    return pd.DataFrame(rows).convert_dtypes()  # counts stay whole where some families have none


def epochs_frame(study: OpenStudy) -> pd.DataFrame:
    """Return a row for each epoch of each trial: `trial`, `epoch`, losses, metrics, seconds."""
    import pandas as pd

    columns = ("train_loss", "train_metric", "test_loss", "test_metric", "duration_s")
    rows = [
        {"trial": trial.number, "epoch": epoch.epoch} | {c: getattr(epoch, c) for c in columns}
        for trial in study.sampled()
        for epoch in study.record(trial).curve
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", *columns])
