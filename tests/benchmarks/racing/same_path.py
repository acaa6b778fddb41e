"""The race's baselines on hpsearch's own training path: two processes of one thread.

`random` trains random configurations to their end, one after the other. `one-epoch` trains eight
of them for an epoch each, then goes on with the best of these to its end, and so on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from racing.lines import Lines

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.machine.children import SPAWN, child_environment
from hpsearch.search.samplers import seed_of
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec, config_from

PROCESSES = 2
RANKED = 8  # configurations, of which the best one is trained to its end
SHOWN = (
    "filters", "layers", "kernel_size", "units1", "units2", "optimizer", "batch_size",
    "learning_rate",
)  # fmt: skip


def run(who: str, spec: StudySpec, folder: Path, began: float, seconds: float) -> None:
    """Run a baseline until its time is up; its processes say what they come to in its lines."""
    prepared = prepare(spec.data)
    count = SPAWN.Value("i", 0)
    given = (who, spec, str(prepared.folder), str(folder), began, seconds, count)
    with child_environment(threads=1):
        crew = [SPAWN.Process(target=work, args=given) for _ in range(PROCESSES)]
        for process in crew:
            process.start()
    for process in crew:
        process.join()
        assert process.exitcode == 0, f"a process ended with {process.exitcode}"


class Trial:
    """A random configuration, and its training as far as it has come."""

    def __init__(self, number: int, spec: StudySpec, data: SearchData, precision: str) -> None:
        self.number = number
        self.config = sampled(spec, data.fingerprint, number, precision)
        self.trained: Iterator[tuple[Any, Any]] | None = None
        self.test = 0.0


def sampled(spec: StudySpec, fingerprint: str, number: int, precision: str) -> TrialConfig:
    """Return the random configuration of a number, the same in every process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = [seed_of(spec.search.seed, number, stream) for stream in (0, 1)]
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seeds[0])).ask()
    for name, value in (("seed", seeds[1]), ("precision", precision), ("threads", 1)):
        trial.set_user_attr(name, value)
    return config_from(spec, fingerprint, trial)


class Baseline:
    """One process of a baseline: its trainings, and the best weights of any of them."""

    def __init__(
        self, spec: StudySpec, folder: Path, lines: Lines, seconds: float, count: Any
    ) -> None:
        import torch

        from hpsearch.training.precision import faster_precision

        torch.set_num_threads(1)
        self._spec, self._folder, self._lines, self._count = spec, folder, lines, count
        self._ends = lines.began + seconds
        self._device = torch.device("cpu")
        self._data = load_search_data(folder)
        self._precision = faster_precision(spec.search.precision, self._data, self._device)
        self._best: tuple[float, TrialConfig | None, dict[str, Any]] = (0.0, None, {})

    def random(self) -> None:
        """Train one random configuration after the other to its end."""
        while True:
            self._train(self._begun())

    def one_epoch(self) -> None:
        """Train eight for an epoch, the best of them to its end, and again."""
        while True:
            tried = [self._begun() for _ in range(RANKED)]
            for trial in tried:
                self._train(trial, epochs=1)
            best = max(tried, key=lambda trial: trial.test)
            tried.clear()
            self._train(best)

    def _begun(self) -> Trial:
        with self._count.get_lock():
            number = self._count.value
            self._count.value += 1
        return Trial(number, self._spec, self._data, self._precision)

    def _train(self, trial: Trial, epochs: int | None = None) -> None:
        """Train a trial for some epochs, or to its end; Interrupted where the time is up."""
        from hpsearch.training.loop import train

        if trial.trained is None:
            shown = {name: getattr(trial.config, name) for name in SHOWN}
            self._lines.begun(trial.number, shown)
            trial.trained = train(
                trial.config, self._data, self._device, lambda: time.time() > self._ends
            )
        for epoch, training in itertools.islice(trial.trained, epochs):
            trial.test = epoch.test_metric
            self._lines.epoch(trial.number, epoch.number, epoch.test_metric)
            if epoch.test_metric > self._best[0]:
                kept = {k: v.clone() for k, v in training.model.state_dict().items()}
                self._best = (epoch.test_metric, trial.config, kept)
            if epoch.diverged:
                return
            if epoch.number == trial.config.epochs:
                self._lines.complete(trial.number)

    def validate(self) -> None:
        """Say what this process's best comes to on validation."""
        from hpsearch.data.batches import resident
        from hpsearch.data.sealed import open_sealed
        from hpsearch.training.loop import evaluate
        from hpsearch.training.state import begin

        test, config, weights = self._best
        if config is None:
            return
        training = begin(config, self._data, self._device, 1)
        training.model.load_state_dict(weights)
        sealed = resident(open_sealed(self._folder), self._data, self._device)
        _, accuracy = evaluate(training.model, sealed, config, training.task)
        self._lines.validation(accuracy, test)


def work(
    who: str, spec: StudySpec, prepared: str, folder: str, began: float, seconds: float, count: Any
) -> None:
    """What a process of a baseline does."""
    from hpsearch.training.loop import Interrupted

    lines = Lines(Path(folder) / "lines.jsonl", began)
    baseline = Baseline(spec, Path(prepared), lines, seconds, count)
    try:
        baseline.random() if who == "random" else baseline.one_epoch()
    except Interrupted:
        baseline.validate()
