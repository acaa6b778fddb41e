"""How many workers a machine holds: one for each core, or as many as the memory of its GPUs."""

from __future__ import annotations

from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from hpsearch.errors import StudyNotFoundError, UnreadableStudyError
from hpsearch.machine.children import cores, gpus
from hpsearch.storage.storage import Storage
from hpsearch.storage.stored_records import readable

CONTEXT_BYTES = 600 * 2**20  # what a process takes of a GPU before its first tensor
MEMORY_SHARE = 0.9  # of a GPU may be planned for
TRIALS_MEASURED = 3  # before more workers are started
LARGEST_PER_GPU = 8


@dataclass
class GpuSlots:
    """The worker slots of a device name; `wanted` None lets the machine decide.

    On GPUs it begins with one worker each. Once a few trials have shown what they take, each GPU
    gets as many as its memory holds, and at most one for each core.
    """

    device: str
    wanted: int | None
    most: int | None = None
    count: int = field(init=False)
    _settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._gpus = gpus() if self.device in ("auto", "cuda") else 0
        self._settled = self.wanted is not None or not self._gpus
        alone = cores() if self.device in ("auto", "cpu") else 1
        self.count = self._at_most(self.wanted or self._gpus or alone)

    def more(self, storage: Storage, study: str | None) -> list[int]:
        """Return the numbers of workers to start besides those there are."""
        if self._settled:
            return []
        names = [study] if study is not None else storage.study_names()
        taken = [
            (trial.user_attrs["peak_memory_bytes"], trial.user_attrs["device_memory_bytes"])
            for name in names
            for trial in _trials(storage, name)
            if "peak_memory_bytes" in trial.user_attrs
        ]
        if len(taken) < TRIALS_MEASURED:
            return []
        self._settled = True
        peak = max(trial for trial, _ in taken)
        total = min(device for _, device in taken)
        fitting = self._gpus * workers_per_gpu(peak, total)
        wanted = self._at_most(min(fitting, max(self._gpus, cores())))
        added = list(range(self.count, wanted))
        self.count = max(self.count, wanted)
        return added

    def _at_most(self, count: int) -> int:
        return count if self.most is None else min(count, self.most)


def _trials(storage: Storage, study: str) -> list[FrozenTrial]:
    """Return the trials of a study, none where they cannot be read."""
    try:
        with readable(study, None):
            return storage.load(study).get_trials(deepcopy=False)
    except (UnreadableStudyError, StudyNotFoundError):  # or deleted meanwhile
        return []


def workers_per_gpu(peak_bytes: int, total_bytes: int) -> int:
    """Return how many workers fit on a GPU whose trials take up to `peak_bytes` each."""
    fitting = int(total_bytes * MEMORY_SHARE) // (peak_bytes + CONTEXT_BYTES)
    return max(1, min(LARGEST_PER_GPU, fitting))
