"""Notes on paused trials for optuna-dashboard, made while it reads and never stored.

Optuna knows no paused trials, and has them as running. Notes in its own tables would have to be
written and taken back at every pause, and each page of the dashboard reads all of them.
"""

from __future__ import annotations

from typing import Any

from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.optuna_trials import TrialStore
from hpsearch.storage.storage import Storage

VERSION, TEXT = "dashboard:{}:note_ver", "dashboard:{}:note_str:0"  # as optuna-dashboard has them


class NotedStore(TrialStore):
    """Optuna's view of a storage, where studies have a note on each trial that is paused."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.optuna.backend)
        self._pauses = storage.pauses

    def get_all_studies(self) -> list[Any]:
        paused, studies = self._pauses.waiting(), super().get_all_studies()
        for study in studies:
            epochs = paused.get(study.study_name)
            if epochs:
                study.system_attrs = study.system_attrs | self._notes(study.study_name, epochs)
        return studies

    def _notes(self, study: str, epochs: dict[int, int]) -> dict[str, Any]:
        """Return the attributes of a study that are the notes on its paused trials."""
        notes: dict[str, Any] = {}
        for trial in self.get_all_trials(self.get_study_id_from_name(study), deepcopy=False):
            epoch, number = epochs.get(id_of(trial)), id_of(trial)
            if epoch is not None and not trial.state.is_finished():
                until = trial.user_attrs.get("until", "the scheduler resumes it")
                notes[VERSION.format(number)] = 1
                notes[TEXT.format(number)] = (
                    f"paused after epoch {epoch} until {until}; nobody is at it, and any worker "
                    "may go on with it"
                )
        return notes
