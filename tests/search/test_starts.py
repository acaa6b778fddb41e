"""What a study tries before its sampler is asked, and what it takes over from an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from fixtures_storage import on_sqlite
from made_studies import PREPARED, begin_trial, claimed, enter, run_trial, spec_of, stored
from optuna.trial import FrozenTrial, TrialState

from hpsearch.errors import StudyFileError, StudyMismatchError, StudyNotFoundError
from hpsearch.reports.tried import tried_lines
from hpsearch.search.entering import enter as enter_with_starts
from hpsearch.search.entering import start_lines
from hpsearch.search.known_good import KNOWN_GOOD, KnownGood, kind_of_data, known_good
from hpsearch.search.progress import progress_of
from hpsearch.search.samplers import sampler_for
from hpsearch.search.starts import first_lines, starts_in, starts_of
from hpsearch.search.warm_start import NUMBERED_FROM, TaughtSampler, imported, warm_start_of
from hpsearch.storage.storage import Storage
from hpsearch.study.file import read_study
from hpsearch.study.space import Space
from hpsearch.study.spec import StudySpec

SPACE: dict[str, Any] = {
    "family": ["alexnet", "resnet"],
    "filters": {"low": 16, "high": 64, "step": 16},
    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
}


# Known to be good


def test_every_row_is_a_configuration_of_a_space_that_has_its_values() -> None:
    for row in KNOWN_GOOD:
        space = Space.model_validate(dict(row.values))
        assert space.nearest_params(row.values) == {}
        assert row.found


@pytest.mark.parametrize(
    ("source", "shape", "kind"),
    [
        ("digits", (1, 8, 8), "small grey"),
        ("mnist", (1, 28, 28), "grey"),
        ("cifar10", (3, 32, 32), "colour"),
        ("digits", (3, 64, 64), "photos"),
        ("digits", (1, 128, 96), "photos"),
    ],
)
def test_data_is_of_a_kind(source: str, shape: tuple[int, int, int], kind: str) -> None:
    assert kind_of_data(spec_of(data={"source": source}), shape) == kind


def test_rows_of_the_kind_and_the_families_are_taken_those_of_the_size_first() -> None:
    table = (
        KnownGood("grey", "tens of thousands", {"family": "alexnet", "filters": 64}, "many"),
        KnownGood("grey", "thousands", {"family": "alexnet", "filters": 32}, "few"),
        KnownGood("grey", "thousands", {"family": "vgg"}, "another family"),
        KnownGood("colour", "thousands", {"family": "alexnet"}, "another kind"),
    )
    found = known_good(spec_of(), (1, 28, 28), 5000, table)
    assert [row.found for row in found] == ["few", "many"]
    assert [row.found for row in known_good(spec_of(), (1, 28, 28), 50000, table)] == [
        "many",
        "few",
    ]


def test_what_is_known_to_be_good_takes_a_quarter_of_the_trials_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        KnownGood("small grey", "thousands", {"family": "alexnet", "filters": n}, f"{n}")
        for n in (16, 17, 32, 64, 48)
    ]
    monkeypatch.setattr("hpsearch.search.starts.known_good", lambda *_: rows)
    found = starts_of(spec_of(space=SPACE, trials=12), PREPARED)
    assert [start.params["filters"] for start in found] == [48, 48, 16, 32, 64]
    assert [start.params["family"] for start in found][:2] == ["alexnet", "resnet"]
    few = starts_of(spec_of(space=SPACE, trials=3), PREPARED)
    assert len(few) == 2, "the defaults alone"


# Own candidates

EXPORT = """config:
  task: single-label
  family: alexnet
  filters: 100
  layers: 3
  kernel_size: 3
  units1: 128
  units2: 64
  activation: gelu
  pooling: max
  batch_norm: true
  dropout: 0.1
  optimizer: adamw
  learning_rate: 0.02
  weight_decay: 0.01
  batch_size: 128
  schedule: one-cycle
  patience: 2
  label_smoothing: 0.0
  flip: false
  shift: 0
  epochs: 3
  seed: 5
  precision: fp32
  threads: 1
  data: {source: digits, fingerprint: FINGERPRINT}
recorded: {study: other, trial: 3, epochs: 3}
""".replace("FINGERPRINT", "b" * 64)
STUDY = """name: mine
data: {source: digits}
space:
  filters: {low: 16, high: 64, step: 16}
  learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {trials: 8, first: FIRST}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(first: str) -> Path:
        (tmp_path / "found").mkdir(exist_ok=True)
        (tmp_path / "found" / "best.yaml").write_text(EXPORT, encoding="utf-8")
        (tmp_path / "wrong.yaml").write_text(
            EXPORT.replace("filters: 100", "filters: many"), encoding="utf-8"
        )
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.replace("FIRST", first), encoding="utf-8")
        return path

    return write


@on_sqlite
def test_own_candidates_follow_the_baseline_moved_into_the_space(
    storage: Storage, written: Callable[[str], Path]
) -> None:
    path = written("[found/best.yaml, {filters: 33, dropout: 0.3}]")
    spec = read_study(path)
    (path.parent / "found" / "best.yaml").unlink()  # no worker needs it
    enter_with_starts(storage, spec, PREPARED)
    starts = starts_in(storage, "mine") or []
    assert [start.params for start in starts[:3]] == [
        {"filters": 48, "learning_rate": 3e-3},
        {"filters": 64, "learning_rate": 1e-2},
        {"filters": 32, "learning_rate": 3e-3},
    ]
    assert start_lines(storage, "mine")[:2] == [
        "trial 1 is to be found/best.yaml (filters 100 -> 64, learning_rate 0.02 -> 0.01)",
        "trial 2 is to be search.first (filters 33 -> 32, dropout 0.3 -> 0.1)",
    ]
    again = StudySpec.model_validate_json(spec.model_dump_json())
    assert again.search.first == spec.search.first


def test_two_candidates_at_the_same_point_are_one() -> None:
    """And a candidate that is the default, or beyond the trials, is not passed over in silence."""
    first = [{"filters": 31}, {"filters": 33}, {"filters": 48}]
    found = starts_of(spec_of(space=SPACE, trials=3, first=first), PREPARED)
    assert [start.params["filters"] for start in found] == [48, 32, 48]
    assert [start.params["family"] for start in found] == ["alexnet", "alexnet", "resnet"]
    assert first_lines(found, trials=1) == [
        "trial 0 is to be the default of alexnet; so is search.first",
        "trial 1 is to be search.first (filters 31 -> 32); so is search.first (filters 33 -> 32), "
        "if there are more than 1 trials",
    ]


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("[fuond.yaml]", "study.yaml:6: search.first: "),
        ("[fuond.yaml]", "fuond.yaml: there is no such file"),
        ("[study.yaml]", "study.yaml: config is missing; name a file that 'hpsearch export' wrote"),
        ("[wrong.yaml]", "wrong.yaml:4: config.filters: 'many': input should be a valid integer"),
        ("[{filtres: 3}]", "unknown key 'filtres'; did you mean 'filters'?"),
        ("[{filters: 0.5}]", "0.5 is not a whole number"),
        ("best.yaml", "study.yaml:6: search.first: 'best.yaml': input should be a valid tuple"),
    ],
)
def test_a_wrong_candidate_is_an_error_that_says_where(
    written: Callable[[str], Path], first: str, says: str
) -> None:
    path = written(first)
    with pytest.raises(StudyFileError) as raised:
        read_study(path)
    assert says in str(raised.value).replace(f"{path.parent}/", "")


@on_sqlite
def test_other_candidates_make_another_study(storage: Storage) -> None:
    enter_with_starts(storage, spec_of(space=SPACE, first=[{"filters": 16}]), PREPARED)
    with pytest.raises(StudyMismatchError, match=r"search\.first"):
        enter_with_starts(storage, spec_of(space=SPACE), PREPARED)


@pytest.mark.parametrize("key", [{"first": [{"filters": 3}]}, {"warm_start": "other"}])
def test_a_grid_starts_from_nothing(key: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a grid tries all there is"):
        spec_of(space={"filters": [8, 16]}, sampler="grid", **key)


# Warm start


def with_earlier(storage: Storage) -> StudySpec:
    """Return an earlier study with five trials, the third of them the best."""
    spec = enter(storage, spec_of("earlier", trials=10))
    for curve in ((0.1, 0.2), (0.1, 0.3), (0.2, 0.9), (0.2, 0.8), (0.2, 0.7)):
        run_trial(storage, spec, curve)
    run_trial(storage, spec, (0.1,), TrialState.PRUNED)
    run_trial(storage, spec, (0.1,), TrialState.FAIL)
    return spec


@on_sqlite
def test_an_earlier_study_teaches_and_its_best_are_run_again(storage: Storage) -> None:
    with_earlier(storage)
    spec = spec_of("later", warm_start="earlier", trials=6)
    enter_with_starts(storage, spec, PREPARED)
    best = [t.params for t in stored(storage, spec_of("earlier")).ranked()[:3]]
    assert [start.params for start in (starts_in(storage, "later") or [])[1:4]] == best
    taught = imported(storage, spec)
    assert [t.value for t in taught] == [0.2, 0.3, 0.9, 0.8, 0.7, None]
    assert [t.number for t in taught] == [NUMBERED_FROM + i for i in range(6)]
    assert taught[-1].intermediate_values == {1: 0.1}
    assert start_lines(storage, "later")[0] == (
        "Of 'earlier' 6 trial(s) teach the sampler (5 complete, 1 pruned); 1 do not: 1 failed"
    )
    p = progress_of(storage, "later")
    assert (p.budget, p.finished, p.best, p.study.trials) == (6, 0, None, [])
    assert tried_lines(p)[0].startswith("Of 'earlier' 6 trial(s)")


@on_sqlite
def test_sizes_are_taken_over_and_what_is_too_large_now_does_not_teach(storage: Storage) -> None:
    earlier = enter(storage, spec_of("earlier", trials=10))
    for size in (100, 2000):
        run_trial(storage, earlier, (0.5,), parameters=size, forward_flops=7.0 * size)
    spec = spec_of("later", warm_start="earlier", constraints={"parameters": "1k"})
    enter_with_starts(storage, spec, PREPARED)
    taught = imported(storage, spec)
    assert [t.user_attrs for t in taught] == [{"parameters": 100, "forward_flops": 700.0}]
    assert "1 do not: 1 above search.constraints" in start_lines(storage, "later")[0]


@on_sqlite
def test_what_was_taken_over_outlives_the_earlier_study(storage: Storage) -> None:
    with_earlier(storage)
    spec = spec_of("later", warm_start="earlier", trials=6)
    enter_with_starts(storage, spec, PREPARED)
    storage.delete_study("earlier")
    enter_with_starts(storage, spec, PREPARED)
    assert len(imported(storage, spec)) == 6
    assert len(starts_in(storage, "later") or []) >= 4


@on_sqlite
@pytest.mark.parametrize(
    ("search", "space", "reason"),
    [
        ({"epochs": 9}, None, {"of other search.epochs": 7}),
        ({"metric": "macro-f1"}, None, {"of other metric and search.metric": 7}),
        ({}, {"filters": [200, 300]}, {"outside of this space": 6, "failed": 1}),
    ],
)
def test_what_cannot_teach_is_counted_by_its_reason(
    storage: Storage, search: dict[str, Any], space: Any, reason: dict[str, int]
) -> None:
    with_earlier(storage)
    spec = spec_of("later", space=space, warm_start="earlier", **search)
    found = warm_start_of(spec, PREPARED, stored(storage, spec_of("earlier")))
    assert found.left_out == reason
    assert (found.trials, len(found.best)) == ((), 3)


@on_sqlite
def test_a_study_that_is_not_there_is_an_error_that_names_those_that_are(storage: Storage) -> None:
    with_earlier(storage)
    with pytest.raises(StudyNotFoundError, match=r"search\.warm_start: .* studies here: earlier"):
        enter_with_starts(storage, spec_of("later", warm_start="erlier"), PREPARED)
    assert storage.study_names() == ["earlier"]


class Seeing(optuna.samplers.RandomSampler):
    """Remembers which trials it was shown."""

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        self.shown = [t.number for t in study.get_trials(deepcopy=False)]
        return super().sample_relative(study, trial, search_space)


@on_sqlite
def test_the_sampler_sees_what_was_taken_over_and_nobody_else_does(storage: Storage) -> None:
    with_earlier(storage)
    spec = spec_of("later", warm_start="earlier")
    enter_with_starts(storage, spec, PREPARED)
    seeing = Seeing(seed=0)
    study = storage.known("later", TaughtSampler(seeing, imported(storage, spec)))
    trial = study.ask()
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    assert seeing.shown == [*(NUMBERED_FROM + i for i in range(6)), 0]
    assert [t.number for t in study.get_trials()] == [0]


@on_sqlite
@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_that_was_taught_proposes_what_was_good_at_once(
    storage: Storage, name: str
) -> None:
    space = {"activation": ["relu", "leaky_relu", "gelu", "silu", "elu"], "units1": [32, 64]}
    earlier = enter(storage, spec_of("earlier", space=space, sampler="random", trials=40))
    for _ in range(40):
        lease = claimed(storage, earlier)
        trial = begin_trial(storage, earlier, lease)
        trial.set_user_attr("parameters", 1000)
        trial.study.tell(trial, float(trial.params["activation"] == "silu"))
        storage.leases.finish(lease)
    spec = spec_of("later", space=space, warm_start="earlier", sampler=name, trials=20)
    enter_with_starts(storage, spec, PREPARED)
    found = []
    for slot in range(10):
        sampler = TaughtSampler(sampler_for(spec.search, slot), imported(storage, spec))
        trial = storage.known("later", sampler).ask()
        spec.space.pick_all(trial)
        found.append(trial.params["activation"])
    assert found.count("silu") >= 5, "by chance it would be 2"
