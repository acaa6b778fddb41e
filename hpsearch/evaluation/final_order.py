"""What the processes that train for a final are given: plain data, made without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from hpsearch.search.baseline import baseline_of, whole_training_s
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.checkpoints import EVERY_S, Checkpoints
from hpsearch.storage.leases import Lease
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import Final

MEASURED, LOST, INTERRUPTED = "measured", "lost", "interrupted"  # how a final's process ended
MODEL = "model.safetensors"
BASELINE_MODEL = "baseline.safetensors"
UNFINISHED = ".final-"  # folders of results that have not taken their place begin so


@dataclass(frozen=True)
class Order:
    """One network to train for the final of a study, under which lease, and where it goes.

    `place` is a folder of this lease's alone: what is written there takes its place in `folder`
    once the opening is this lease's, and measured. `checkpoints` is their URL.
    """

    storage_url: str
    lease: Lease
    trial: int
    config: TrialConfig
    asked: Final
    prepared: Path
    device: str
    folder: Path
    place: Path
    checkpoints: str
    checkpoint_every_s: float = EVERY_S
    timeout_s: float | None = None
    open_again: bool = False
    is_baseline: bool = False

    @property
    def training(self) -> str:
        """What its checkpoints are called after: with test it is another training than without."""
        what = "baseline" if self.is_baseline else self.lease.training
        return what if self.asked.train_on == "train" else f"{what}-with-test"

    @property
    def weights(self) -> Path:
        """The file of its weights, before it has taken its place."""
        return self.place / (BASELINE_MODEL if self.is_baseline else MODEL)

    def kept(self) -> Checkpoints:
        """Return the place of its checkpoints."""
        return Checkpoints(self.checkpoints, self.checkpoint_every_s)


def beside(study: OpenStudy, trial: int) -> FrozenTrial | None:
    """Return the baseline that is to be trained beside the choice, None where there is none."""
    found = baseline_of(study.spec, study.trials) if study.spec.final.baseline else None
    return None if found is None or found.number == trial else found


def has_time(storage: Storage, study: OpenStudy, trial: FrozenTrial) -> bool:
    """Whether the study's timeout leaves time to train a trial's configuration."""
    row = storage.ledger.study(study.spec.name)
    left_s = None if row is None else row.time_left_s
    return left_s is None or left_s >= whole_training_s(study.spec, trial)
