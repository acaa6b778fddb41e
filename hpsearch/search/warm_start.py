"""What a study takes over from an earlier one: trials that teach its sampler, and configurations.

A snapshot is stored with the study when it is entered, so that its workers all know the same,
whatever becomes of the earlier one. What is taken over are no trials of the study: nothing counts,
ranks or reports them, and none of them is chosen unless it is run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from hpsearch.data.prepared import Prepared
from hpsearch.search.keys import key_of
from hpsearch.search.kinds import counted, kind_of
from hpsearch.search.starts import Wanted, moved_into
from hpsearch.search.stored_study import OpenStudy
from hpsearch.search.view_sampler import ViewSampler
from hpsearch.storage.optuna_private import seen_as, study_id_of
from hpsearch.storage.storage import Storage
from hpsearch.study.axes import Value
from hpsearch.study.goals import RECORDED_AS
from hpsearch.study.limits import TRIALS
from hpsearch.study.space import Space
from hpsearch.study.spec import StudySpec

AGAIN = 3  # of the best configurations are run again
MOST = 2000  # trials, the last ones
TEACH = ("complete", "pruned", "diverged")  # endings that tell of a configuration wherever it runs
NUMBERED_FROM = TRIALS  # Optuna's search spaces are made of no trial with a number below 0
IMPORTED = "hpsearch:imported"  # the system attribute of Optuna's study
SUMMARY = "warm start"  # its user attribute, which the dashboard shows, too
OF_THE_SEARCH = ("name", "space.", "search.sampler.", "search.pruner.", "pretrained.")
APART = ("search.seed", "search.precision", "search.first", "search.warm_start")


@dataclass(frozen=True)
class WarmStart:
    """What is taken over from the study of a name.

    `trials` are what is stored of those that teach; `left_out` counts the others by reason, and
    `best` are the configurations to be run again.
    """

    study: str
    trials: tuple[dict[str, Any], ...]
    left_out: dict[str, int]
    best: tuple[Wanted, ...]

    def summary(self) -> dict[str, Any]:
        """Return what is told of it, as plain data."""
        kinds = Counter(str(trial["kind"]) for trial in self.trials)
        again = [wanted.origin for wanted in self.best]
        return {
            "study": self.study,
            "imported": dict(kinds.most_common()),
            "left_out": self.left_out,
            "again": again,
        }


def warm_start_of(spec: StudySpec, prepared: Prepared, earlier: OpenStudy) -> WarmStart:
    """Return what a study takes over from an earlier one.

    Trials teach where they are of the same data and their scores mean the same, and where their
    values lie in this space; the best configurations are taken in any case.
    """
    other = _other(spec, prepared, earlier)
    left_out: Counter[str] = Counter()
    trials: list[dict[str, Any]] = []
    for trial in earlier.trials:
        found = other or _taught(spec, earlier, trial)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            trials.append(found)
    if len(trials) > MOST:
        left_out[f"older than the last {MOST:,}"] = len(trials) - MOST
    name = earlier.spec.name
    return WarmStart(name, tuple(trials[-MOST:]), dict(left_out.most_common()), _best(earlier))


def _other(spec: StudySpec, prepared: Prepared, earlier: OpenStudy) -> str | None:
    """Return why scores of an earlier study mean something else; None where they do not."""
    was, now = earlier.spec.identity(), spec.identity()
    differ = [
        key
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key) and key not in APART and not key.startswith(OF_THE_SEARCH)
    ]
    if earlier.fingerprint != prepared.fingerprint and not any(
        k.startswith("data.") for k in differ
    ):
        differ.insert(0, "data")
    if earlier.spec.metric != spec.metric:
        differ.insert(0, "metric")
    return f"of other {' and '.join(dict.fromkeys(differ))}" if differ else None


def _taught(spec: StudySpec, earlier: OpenStudy, trial: FrozenTrial) -> dict[str, Any] | str:
    """Return what is stored of a trial that teaches, or why it does not."""
    kind = kind_of(trial)
    if not trial.state.is_finished():
        return "not ended"
    if kind not in TEACH:
        return kind
    limits = spec.search.limits()
    if any(trial.user_attrs.get(attribute, 0) > most for attribute, most in limits.items()):
        return "above search.constraints"
    values = _values(earlier, trial)
    params = spec.space.nearest_params(values)
    if moved_into(spec, values, params):
        return "outside of this space"
    return {
        "kind": kind,
        "params": params,
        "value": trial.value,
        "steps": {str(step): value for step, value in trial.intermediate_values.items()},
        "sizes": {a: trial.user_attrs[a] for a in RECORDED_AS.values() if a in trial.user_attrs},
    }


def _values(study: OpenStudy, trial: FrozenTrial) -> dict[str, Value]:
    config = study.config(trial)
    found = {name: getattr(config, name) for name in Space.model_fields}
    return {name: value for name, value in found.items() if value is not None}


def _best(earlier: OpenStudy) -> tuple[Wanted, ...]:
    """Return the best different configurations of a study."""
    found: dict[str, Wanted] = {}
    for trial in earlier.ranked():
        origin = f"trial {trial.number} of '{earlier.spec.name}'"
        found.setdefault(key_of(earlier.config(trial)), Wanted(origin, _values(earlier, trial)))
        if len(found) == AGAIN:
            break
    return tuple(found.values())


def keep_warm_start(storage: Storage, name: str, warm: WarmStart) -> None:
    """Store with a study of Optuna's what it takes over."""
    study = storage.known(name)
    study.set_user_attr(SUMMARY, warm.summary())
    storage.optuna.set_study_system_attr(study_id_of(study), IMPORTED, list(warm.trials))


def imported(storage: Storage, spec: StudySpec) -> list[FrozenTrial]:
    """Return the trials that teach a stored study's sampler, with numbers above all of its own."""
    if spec.search.warm_start is None:
        return []
    attrs = storage.optuna.get_study_system_attrs(study_id_of(storage.known(spec.name)))
    found = [_frozen(spec, kept) for kept in attrs.get(IMPORTED, ())]
    for number, trial in enumerate(found, start=NUMBERED_FROM):
        trial.number = number
    return found


def _frozen(spec: StudySpec, kept: dict[str, Any]) -> FrozenTrial:
    asked = FixedTrial(kept["params"])
    spec.space.pick_all(asked)
    complete = kept["kind"] == "complete"
    return create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=kept["value"] if complete else None,
        params=asked.params,
        distributions=asked.distributions,
        intermediate_values={int(step): value for step, value in kept["steps"].items()},
        user_attrs=kept.get("sizes", {}),
    )


def warm_lines(summary: dict[str, Any] | None) -> list[str]:
    """Return in words what a study took over; nothing where it started from none."""
    if summary is None:
        return []
    number, left = sum(summary["imported"].values()), summary["left_out"]
    kinds = f" ({counted(summary['imported'])})" if number else ""
    line = f"Of '{summary['study']}' {number} trial(s) teach the sampler{kinds}"
    if left:
        reasons = ", ".join(f"{n} {reason}" for reason, n in left.items())
        line += f"; {sum(left.values())} do not: {reasons}"
    return [line]


class TaughtSampler(ViewSampler):
    """Another sampler, to which an earlier study's trials are trials of this one, too."""

    def __init__(self, sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> None:
        super().__init__(sampler)
        self._trials = list(trials)

    def view(self, study: Study) -> Study:
        return seen_as(study, lambda own: [*self._trials, *own])
