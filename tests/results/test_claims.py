"""What a report claims is in the ledger: random ledgers, and each claim checked."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from search import made_studies
from search.made_studies import spec_of

from hpsearch.results.formats import markdown
from hpsearch.results.intervals import wilson_interval
from hpsearch.results.report import make_report
from hpsearch.search.confirm import plan
from hpsearch.search.confirmations import confirm_slot
from hpsearch.search.storage import Storage, open_storage
from hpsearch.search.studies import enter_study, read_stored_study
from hpsearch.study.spec import StudySpec

IMAGES = 20
STUDIES = ("mine", "other")
names = itertools.count()

# Every claim that a report may make has to come up, or the test would not be one of it.
CLAIMS = (
    "opened once.", "optimistic", "still sealed", "that is deleted", "judged it, once",
    "seen by nothing before", "not measured to the end", "scored better on test since",
    "Best so far", "identical to the search", "Trained on train and test", "which lies within",
    "score is too good", "is no worse than the best", "it was worth it.", "was not worth it",
    "that may be chance", "do not tell whether by luck", "could not be trained beside",
    "The choice is the default", "would be the choice now", "is told apart from the others",
    "cannot be told apart", "No finalist could be confirmed", "is the only candidate",
    "one seed does not tell", "out of the race after", "no score with one seed",
    "The best trial of the search scored", "with new seeds its mean is",
)  # fmt: skip


def steps(rng: Random) -> list[tuple[str, Any]]:
    """Return what happens to two studies of the same data; close scores, so that all can win."""
    found: list[tuple[str, Any]] = []
    if rng.random() < 0.4:  # three finalists, of which the first is far better with new seeds
        found += [("trial", ("mine", score, TrialState.COMPLETE)) for score in (0.9, 0.8, 0.7)]
        found.append(("confirm", ("mine", [1.0, 0.15, 0.2] * 3, rng.choice([3, 9]))))
    for _ in range(rng.randrange(14 - len(found))):
        study = rng.choice(["mine", "mine", "mine", "other"])
        what = rng.choices(["trial", "confirm", "open", "delete"], [6, 3, 4, 1])[0]
        if what == "trial":
            state = rng.choice([*[TrialState.COMPLETE] * 3, TrialState.PRUNED, TrialState.FAIL])
            found.append((what, (study, rng.randrange(8, IMAGES + 1) / IMAGES, state)))
        elif what == "confirm":
            scores = [rng.randrange(8, IMAGES + 1) / IMAGES for _ in range(9)]
            if rng.random() < 0.5:  # three finalists, of which one is far better than the others
                scores = [rng.randrange(3, 6) / IMAGES for _ in range(9)]
                scores[rng.randrange(3) :: 3] = [1.0] * 3
            failing = rng.choice([0.0, 0.0, 0.2, 1.0])
            found.append((what, (study, [None if rng.random() < failing else s for s in scores],
                                 rng.choice([1, 3, 9, 9, 9]))))  # fmt: skip
        elif what == "open":
            low, high = sorted(round(rng.uniform(-0.5, 0.5), 3) for _ in range(2))
            bounds = rng.choice([None, *[(low, high)] * 5])
            measured = rng.random() < 0.8
            scores = [rng.randrange(8, IMAGES + 1) / IMAGES for _ in range(2)]
            baseline = rng.choice(["failed", *["measured"] * 4])
            found.append((what, (study, measured, *scores, baseline, 0.1, bounds,
                                 rng.random() < 0.2)))  # fmt: skip
        else:
            found.append((what, (study,)))
    return found


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
    confirmed: dict[str, list[tuple[int, float | None]]] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STUDIES, 0))

    def enter(self, study: str) -> None:
        prepared = dataclasses.replace(made_studies.PREPARED, fingerprint=self.fingerprint)
        enter_study(self.storage, self.specs[study], prepared)
        self.trials[study] = []
        self.confirmed[study] = []

    def trial(self, study: str, score: float, state: TrialState) -> None:
        made = create_trial(
            state=state,
            value=score if state == TrialState.COMPLETE else None,
            params={"filters": 8 + len(self.trials[study]) % 4},
            distributions={"filters": FILTERS},
            user_attrs={"slot": len(self.trials[study]), "seed": 0, "precision": "fp32",
                        "threads": 1, "parameters": 1000, "duration_s": 1.0,
                        "curve": curve_of(score)},
        )  # fmt: skip
        optuna_study = self.storage.optuna.get_study_id_from_name(self.specs[study].name)
        made.number = len(self.trials[study])
        self.storage.optuna.create_new_trial(optuna_study, made)
        self.trials[study].append(made)

    def delete(self, study: str) -> None:
        self.storage.delete_study(self.specs[study].name)
        self.ages[study] += 1
        self.enter(study)

    def confirm(self, study: str, scores: list[float | None], most: int) -> None:
        """Train finalists again as workers would, at most so many trainings."""
        name = self.specs[study].name
        for score in scores[:most]:
            due = plan(read_stored_study(self.storage, name)).due
            if not due:
                return
            number, repeat = due[0].trial.number, due[0].repeat
            lease = self.storage.confirmations.claim(name, confirm_slot(number, repeat), "me")
            assert lease is not None
            result: dict[str, Any] = {"reason": "it diverged"}
            if score is not None:
                right = np.arange(IMAGES) < round(score * IMAGES)
                packed = base64.b64encode(np.packbits(right).tobytes()).decode()
                result = {"score": score, "images": IMAGES, "hits": packed, "curve": []}
            assert self.storage.confirmations.write(lease, number, result)
            self.confirmed[study].append((number, score))

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
        baseline: str,
        gain: float,
        gain_interval: tuple[float, float] | None,
        both: bool,
    ) -> dict[str, Any]:
        complete = sum(t.state == TrialState.COMPLETE for t in self.trials[study])
        beside: dict[str, Any] = {"trial": 0}
        if baseline == "measured":
            beside |= {"validation": scored(1 - validation), "curve": curve_of(0.5)}
            beside |= {"gain": gain, "gain_interval": gain_interval}
        else:
            beside["failed"] = "it diverged"
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


FILTERS = IntDistribution(8, 11)
PER_CLASS = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "images": 10}


def scored(score: float) -> dict[str, Any]:
    low, high = (float(end) for end in wilson_interval(round(score * IMAGES), IMAGES))
    return {"accuracy": score, "interval": [low, high], "loss": 1.0, "images": IMAGES}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{tmp_path_factory.mktemp('claims')}/ledger.db")
    yield opened
    opened.close()


def test_a_report_of_a_random_ledger_claims_nothing_that_is_not_in_it(ledger: Storage) -> None:
    seen: set[str] = set()

    # Not shrunk, which takes minutes: so short a history can be read.
    @settings(max_examples=300, phases=[Phase.generate])
    @given(st.randoms(use_true_random=True))
    def report_of(rng: Random) -> None:
        number = next(names)
        space = {"filters": {"low": 8, "high": 11}}
        specs = {s: spec_of(f"{s}-{number}", space=space, trials=20) for s in STUDIES}
        world = World(ledger, f"{number:064d}", specs)
        world.enter("mine")
        world.enter("other")
        act: dict[str, Callable[..., None]] = {
            "trial": world.trial, "confirm": world.confirm, "open": world.open,
            "delete": world.delete,
        }  # fmt: skip
        for what, arguments in steps(rng):
            act[what](*arguments)
        text = markdown(make_report(ledger, specs["mine"].name))
        check_claims(world, "mine", text)
        seen.update(claim for claim in CLAIMS if claim in text)

    report_of()
    assert seen == set(CLAIMS), "every claim has to come up"


def check_claims(world: World, study: str, text: str) -> None:
    """Check every claim of a report against what was done."""
    mine = [r for s, age, r in world.openings if (s, age) == (study, world.ages[study])]
    final = next((result for result in reversed(mine) if result is not None), None)
    check_seal(world, study, text, len(mine), final)
    check_choice(world, study, text, final)
    check_confirmed(world, study, text)
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
    said = re.search(r"^\| (\d+) \|.*\| chosen \|$", text, re.MULTILINE)
    values = {t.number: t.value for t in world.trials[study]}
    if so_far is not None and best is not None:
        told = int(so_far[1])
        assert values[told] is not None
        assert (said is not None and int(said[1]) == told) or values[told] == best.value
    chosen = re.search(r"Final choice: trial (\d+)", text)
    assert (chosen is None) == (final is None)
    if chosen is not None and final is not None:
        assert int(chosen[1]) == final["trial"]
    since = re.search(r"Trial (\d+) scored better", text)
    if since is not None:
        assert final is not None and best is not None
        assert values[int(since[1])] > values[final["trial"]]
    now = re.search(r"Trial (\d+) would be the choice now", text)
    if now is not None:
        assert final is not None and int(now[1]) != final["trial"]
        assert said is not None and int(said[1]) == int(now[1])


def check_confirmed(world: World, study: str, text: str) -> None:
    """Check what is said of finalists against what their trainings came to."""
    scores: dict[int, list[float | None]] = {}
    for number, score in world.confirmed[study]:
        scores.setdefault(number, []).append(score)
    values = {t.number: t.value for t in world.trials[study]}
    if "Confirmed by test" not in text:
        assert "cannot be told apart" not in text and "told apart from the others" not in text
        failed = any(score is None for got in scores.values() for score in got)
        assert ("No finalist could be confirmed" in text) == failed
        return
    _, _, part = text.partition("## Confirmed by test")
    part = part.partition("\n## ")[0]
    rows = re.findall(
        r"^\| (\d+) \| ([\d.]+) \| ([\d.]*) \| [\d.]* \| (\d+) \| .* \| (.*) \|$", part, re.M
    )
    assert rows and sum(said == "chosen" for *_, said in rows) == 1
    for number, search, mean, seeds, said in rows:
        got = scores[int(number)]
        sound = [score for score in got if score is not None]
        assert float(search) == pytest.approx(values[int(number)], abs=1e-4)
        assert int(seeds) == len(sound)
        assert not sound or float(mean) == pytest.approx(np.mean(sound), abs=1e-4)
        assert said.startswith("no score with one seed") == (len(sound) < len(got))
        out = re.match(r"out of the race after (\d+) seeds", said)
        assert out is None or len(sound) == int(out[1]) < 3
    means = {int(number): float(mean) for number, _, mean, _, said in rows
             if mean and not said.startswith("no score")}  # fmt: skip
    (chosen,) = [int(number) for number, *_, said in rows if said == "chosen"]
    if "told apart from the others" in part or "has the best score" in part:
        assert means[chosen] == max(means.values())
    tie = re.search(r"Trials ([\d, ]+) cannot be told apart", part)
    assert (tie is not None) == any(said == "tie" for *_, said in rows)
    if tie is not None:
        tied = {int(number) for number in tie[1].split(",")}
        assert chosen in tied
        assert tied == {chosen} | {int(n) for n, *_, said in rows if said == "tie"}
    again = re.search(r"search scored ([\d.]+); with new seeds its mean is ([\d.]+\d)", part)
    if again is not None:
        first = [score for score in scores[int(rows[0][0])] if score is not None]
        assert float(again[1]) == pytest.approx(world.best(study).value, abs=1e-4)  # type: ignore[union-attr]
        assert float(again[2]) == pytest.approx(np.mean(first), abs=1e-4)


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
    assert ("by about 0.0123" in text) == (final["search"]["complete"] > 1)
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
