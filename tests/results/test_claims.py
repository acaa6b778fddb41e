"""What a report claims is in the ledger, whatever that holds."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from search import made_studies
from search.made_studies import begin_trial, claimed, spec_of

from hpsearch.results.formats import markdown
from hpsearch.results.intervals import wilson_interval
from hpsearch.results.report import make_report
from hpsearch.search.storage import Storage, open_storage
from hpsearch.search.studies import enter_study
from hpsearch.study.spec import StudySpec

IMAGES = 20
STUDIES = ("mine", "other")
names = itertools.count()

scores = st.integers(0, IMAGES).map(lambda hits: hits / IMAGES)
gains = st.floats(-0.5, 0.5).map(lambda gain: round(gain, 3))


@st.composite
def bounds(draw: st.DrawFn) -> tuple[float, float] | None:
    low, high = sorted((draw(gains), draw(gains)))
    return (low, high) if low < high else None


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, Any]:
    """Return something that can happen to a study."""
    what = draw(st.sampled_from(["trial", "trial", "trial", "open", "delete"]))
    study = draw(st.sampled_from(STUDIES))
    if what == "trial":
        state = draw(st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED,
                                      TrialState.FAIL]))  # fmt: skip
        return what, (study, draw(scores), state)
    if what == "open":
        baseline = draw(st.sampled_from([None, "failed", "measured"]))
        return what, (study, draw(st.booleans()), draw(scores), draw(scores), baseline,
                      draw(gains), draw(bounds()), draw(st.booleans()))  # fmt: skip
    return what, (study,)


def curve_of(score: float) -> list[dict[str, Any]]:
    losses = {"train_loss": 1.0, "test_loss": 1.0}
    return [losses | {"epoch": 1, "train_metric": score, "test_metric": score, "duration_s": 1.0}]


@dataclass
class World:
    """A ledger and, beside it, what was done to it."""

    storage: Storage
    fingerprint: str
    specs: dict[str, StudySpec]
    trials: dict[str, list[FrozenTrial]] = field(default_factory=dict)
    openings: list[tuple[str, int, dict[str, Any] | None]] = field(default_factory=list)
    ages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STUDIES, 0))

    def enter(self, study: str) -> None:
        prepared = dataclasses.replace(made_studies.PREPARED, fingerprint=self.fingerprint)
        enter_study(self.storage, self.specs[study], prepared)
        self.trials[study] = []

    def trial(self, study: str, score: float, state: TrialState) -> None:
        lease = claimed(self.storage, self.specs[study])
        live = begin_trial(self.storage, self.specs[study], lease)
        for key, value in (("parameters", 1000), ("duration_s", 1.0), ("curve", curve_of(score))):
            live.set_user_attr(key, value)
        live.report(score, 1)
        value = score if state == TrialState.COMPLETE else None
        self.trials[study].append(live.study.tell(live, value, state=state))
        self.storage.ledger.finish(lease)

    def delete(self, study: str) -> None:
        self.storage.delete_study(self.specs[study].name)
        self.ages[study] += 1
        self.enter(study)

    def best(self, study: str) -> FrozenTrial | None:
        complete = [t for t in self.trials[study] if t.state == TrialState.COMPLETE]
        return max(complete, key=lambda t: t.value or 0, default=None)

    def open(self, study: str, measured: bool, *result: Any) -> None:
        best, name = self.best(study), self.specs[study].name
        if best is None:
            return
        made = self.storage.openings.write(name, self.fingerprint, best.number, "me", "why")
        found = self.result(study, best, *result) if measured else None
        if found is not None:
            self.storage.openings.write_result(made, found)
        self.openings.append((study, self.ages[study], found))

    def result(
        self,
        study: str,
        best: FrozenTrial,
        validation: float,
        test: float,
        baseline: str | None,
        gain: float,
        gain_interval: tuple[float, float] | None,
        both: bool,
    ) -> dict[str, Any]:
        complete = sum(t.state == TrialState.COMPLETE for t in self.trials[study])
        beside: dict[str, Any] | None = {
            "trial": 0, "validation": scored(1 - validation), "gain": gain,
            "gain_interval": gain_interval, "curve": curve_of(0.5),
        } if baseline == "measured" else baseline and {"trial": 0, "failed": "broke"}  # fmt: skip
        return {
            "trial": best.number,
            "outputs": ["cat", "dog"],
            "curve": curve_of(test),
            "train_on": "train+test" if both else "train",
            "train": scored(1.0),
            "test": None if both else scored(test),
            "validation": scored(validation)
            | {"confusion": [[1, 0], [0, 1]], "per_class": [PER_CLASS] * 2},
            "config": {"threads": 1},
            "search": {"complete": complete, "best": best.value, "trial": best.number,
                       "optimism": 0.0123},
            "baseline": beside if best.number else None,
        }  # fmt: skip


PER_CLASS = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "images": 10}


def scored(score: float) -> dict[str, Any]:
    low, high = (float(end) for end in wilson_interval(round(score * IMAGES), IMAGES))
    return {"accuracy": score, "interval": [low, high], "loss": 1.0, "images": IMAGES}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{tmp_path_factory.mktemp('claims')}/ledger.db")
    yield opened
    opened.close()


@settings(max_examples=60)
@given(st.lists(steps(), max_size=9))
def test_a_report_of_a_random_ledger_claims_nothing_that_is_not_in_it(
    ledger: Storage, happened: list[tuple[str, Any]]
) -> None:
    number = next(names)
    specs = {study: spec_of(f"{study}-{number}", trials=20) for study in STUDIES}
    world = World(ledger, f"{number:064d}", specs)
    for study in STUDIES:
        world.enter(study)
    act: dict[str, Callable[..., None]] = {
        "trial": world.trial, "open": world.open, "delete": world.delete
    }  # fmt: skip
    for what, arguments in happened:
        act[what](*arguments)
    for study in STUDIES:
        check_claims(world, study, markdown(make_report(ledger, specs[study].name)))


def check_claims(world: World, study: str, text: str) -> None:
    """Check every claim of a report against what was done."""
    mine = [r for s, age, r in world.openings if (s, age) == (study, world.ages[study])]
    final = next((result for result in reversed(mine) if result is not None), None)
    check_seal(world, study, text, len(mine), final)
    check_choice(world, study, text, final)
    if final is None:
        assert not re.search(r"on validation|\| validation \||validation accuracy", text)
        assert "How far" not in text and "Tuning changed" not in text
    else:
        check_final(world, study, text, final)


def check_seal(
    world: World, study: str, text: str, mine: int, final: dict[str, Any] | None
) -> None:
    times, scored_here = len(world.openings), world.best(study) is not None or final is not None
    once = times == 1 and mine == 1
    assert ("opened once." in text) == (once and scored_here)
    assert ("optimistic" in text) == (times > 0 and not once and scored_here)
    assert ("still sealed" in text) == (times == 0 and scored_here)
    for told in re.findall(r"opened (\d+) times", text):
        assert int(told) == times
    for claim in ("judged it, once", "seen by nothing before"):
        assert (claim in text) == (once and final is not None), claim


def check_choice(world: World, study: str, text: str, final: dict[str, Any] | None) -> None:
    best = world.best(study)
    so_far = re.search(r"Best so far: trial (\d+)", text)
    assert (so_far is not None) == (final is None and best is not None)
    if so_far is not None and best is not None:
        (told,) = [t for t in world.trials[study] if t.number == int(so_far[1])]
        assert told.state == TrialState.COMPLETE and told.value == best.value
    chosen = re.search(r"Final choice: trial (\d+)", text)
    assert (chosen is None) == (final is None)
    if chosen is not None and final is not None:
        assert int(chosen[1]) == final["trial"]
    since = re.search(r"Trial (\d+) scored better", text)
    if since is not None:
        assert final is not None and best is not None
        values = {t.number: t.value for t in world.trials[study]}
        assert values[int(since[1])] == best.value
        assert (best.value or 0) > (values[final["trial"]] or 0)


def check_final(world: World, study: str, text: str, final: dict[str, Any]) -> None:
    (chosen,) = [t for t in world.trials[study] if t.number == final["trial"]]
    row = re.search(r"\| validation \| ([\d.]+) \| ([\d.]+) - ([\d.]+) \|", text)
    score, (low, high) = final["validation"]["accuracy"], final["validation"]["interval"]
    assert row is not None and [*map(float, row.groups())] == pytest.approx(
        [score, low, high], abs=1e-4
    )
    both = final["test"] is None
    assert ("Trained on train and test" in text) == both == ("| train + test |" in text)
    assert ("| selected it |" in text) == (not both)
    same = not both and final["test"]["accuracy"] == chosen.value
    assert ("identical to the search" in text) == same
    best = final["search"]["best"]
    assert f"best test score of {final['search']['complete']} complete trial(s)" in text
    assert ("is no worse than the best" in text) == (score >= best)
    assert ("which lies within" in text) == (score < best and low <= best <= high)
    assert ("score is too good" in text) == (score < best and not low <= best <= high)
    assert ("by up to 0.0123" in text) == (final["search"]["complete"] > 1)
    cost = re.search(r"It cost (\d+) trained trial", text)
    assert cost is not None and int(cost[1]) == len(world.trials[study])
    assert ("The choice is the default" in text) == (
        final["trial"] == 0 and world.trials[study][0].state == TrialState.COMPLETE
    )
    check_gain(text, final["baseline"])


def check_gain(text: str, baseline: dict[str, Any] | None) -> None:
    measured = baseline is not None and "gain" in baseline
    assert ("Tuning changed" in text) == measured
    assert ("could not be trained beside" in text) == (baseline is not None and not measured)
    found = baseline["gain_interval"] if baseline is not None and measured else None
    low, high = found or (0, 0)
    assert ("it was worth it." in text) == (low > 0)
    assert ("was not worth it" in text) == (high < 0)
    assert ("that may be chance" in text) == (found is not None and low <= 0 <= high)
    assert ("do not tell whether by luck" in text) == (measured and found is None)
