"""What a report claims is in the ledger: random ledgers, and each claim checked."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import made_studies
import numpy as np
import pytest
from made_records import confirmation_record
from made_studies import spec_of
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.data.prepared import Contents, Prepared
from hpsearch.evaluation.intervals import wilson_interval
from hpsearch.reports.best_yaml import exported_yaml
from hpsearch.reports.formats import as_json, markdown
from hpsearch.reports.report import Report, make_report
from hpsearch.search.finalists import plan
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.schema import FINALIST, openings
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.study.spec import StudySpec

IMAGES = 20
STUDIES = ("earlier", "mine", "other")
names = itertools.count()

# Every claim that a report may make has to come up, or the test would not be one of it.
CLAIMS = (
    "opened once.", "optimistic", "still sealed", "that is deleted", "judged it, once",
    "seen by nothing before", "not measured to the end", "scored better on test since",
    "Choice so far", "identical to the search", "Trained on train and test", "which lies within",
    "score is too good", "is no worse than the", "the choice's own test score",
    "it was worth it.", "was not worth it",
    "that may be chance", "do not tell whether by luck", "could not be trained beside",
    "The choice is the default", "The choice that was measured is the default",
    "the search found nothing better", "did not stand out with new seeds", "at that time",
    "of its examples; a picture", "which showed", "from which this one goes on", "Leak: ",
    "has to be asked for", "and count as all", "is not known",
    "would be the choice now", "is distinguished from the others",
    "cannot be distinguished", "No finalist could be confirmed", "is the only candidate",
    "one seed does not tell", "out of the race after", "no score with one seed",
    "The best trial of the search scored", "with new seeds its mean is",
)  # fmt: skip


def steps(rng: Random) -> list[tuple[str, Any]]:
    """Return what happens to three studies; close scores, so that all can win."""
    found: list[tuple[str, Any]] = []
    if rng.random() < 0.4:  # three finalists, of which the first is far better with new seeds
        found += [("trial", ("mine", score, TrialState.COMPLETE)) for score in (0.9, 0.8, 0.7)]
        found.append(("confirm", ("mine", [1.0, 0.15, 0.2] * 3, rng.choice([3, 9]))))
    elif rng.random() < 0.1:  # the default is measured, beaten since, and is the best of finalists
        found.append(("trial", ("mine", 0.7, TrialState.COMPLETE)))
        found.append(("open", ("mine", True, True, 0.7, 0.7, "measured", 0.1, None, False)))
        found += [("trial", ("mine", score, TrialState.COMPLETE)) for score in (0.9, 0.8)]
        found.append(("confirm", ("mine", [0.15, 0.2, 1.0] * 3, 9)))
    for _ in range(rng.randrange(14 - len(found))):
        study = rng.choice(["mine"] * 6 + ["other", "other", "earlier"])
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
            found.append((what, (study, measured, rng.random() < 0.9, *scores, baseline, 0.1,
                                 bounds, rng.random() < 0.2)))  # fmt: skip
            if rng.random() < 0.3:  # and the search goes on
                found.append(("trial", (study, rng.randrange(14, IMAGES + 1) / IMAGES,
                                        TrialState.COMPLETE)))  # fmt: skip
        else:
            found.append((what, (study,)))
    return found


@dataclass(frozen=True)
class Known:
    """Data as a plain list of what its examples are; nothing of hashes, arrays or digests."""

    fingerprint: str
    searched: list[int]
    sealed: list[int]

    def prepared(self) -> Prepared:
        contents = Contents(np.array(self.searched, np.uint64), np.array(self.sealed, np.uint64))
        return dataclasses.replace(
            made_studies.PREPARED, fingerprint=self.fingerprint, contents=contents
        )


def data_of(rng: Random, number: int) -> dict[str, Known]:
    """Return the data of three studies: one's examples lie in another's in every way they can."""
    everything = [number * 1000 + i for i in range(300)]
    searched, sealed = everything[:180], everything[180:200]
    if rng.random() < 0.3:  # the same picture in two parts
        twice = rng.randrange(1, 8)
        searched[:twice] = sealed[:twice]
    if rng.random() < 0.2:
        sealed[0] = sealed[1]  # and twice in one
    mine = Known(f"{number:064d}", searched, sealed)
    earlier = dataclasses.replace(mine, fingerprint=rng.choice(["1", "0"]) + f"{number:063d}")
    shared = rng.randrange(1, 20)
    in_part = rng.sample(sealed, shared) + everything[200 : 220 - shared]
    others = [
        mine,
        dataclasses.replace(mine, fingerprint=f"2{number:063d}"),
        Known(f"3{number:063d}", everything[:180], everything[200:220]),
        *[Known(f"4{number:063d}", everything[:180], in_part)] * 3,
    ]
    return {"mine": mine, "earlier": earlier, "other": rng.choice(others)}


def curve_of(score: float) -> list[dict[str, Any]]:
    losses = {"train_loss": 1.0, "test_loss": 1.0}
    return [losses | {"epoch": 1, "train_metric": score, "test_metric": score, "duration_s": 1.0}]


@dataclass(frozen=True)
class Opened:
    """An opening as it was made; `examples` is None where they were not recorded."""

    study: str
    age: int
    result: dict[str, Any] | None
    fingerprint: str
    examples: list[int] | None

    def shown(self, data: Known) -> list[bool]:
        """Return which of the sealed examples of some data it showed."""
        if self.fingerprint == data.fingerprint:
            return [True] * len(data.sealed)
        return [example in (self.examples or []) for example in data.sealed]


@dataclass
class World:
    """A ledger and, beside it, what was done to it."""

    storage: Storage
    data: dict[str, Known]
    specs: dict[str, StudySpec]
    trials: dict[str, list[FrozenTrial]] = field(default_factory=dict)
    openings: list[Opened] = field(default_factory=list)
    confirmed: dict[str, list[tuple[int, float | None]]] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STUDIES, 0))

    def enter(self, study: str) -> None:
        enter_study(self.storage, self.specs[study], self.data[study].prepared())
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
            lease = self.storage.leases.claim(name, "me", kind=FINALIST, slot=number, repeat=repeat)
            assert lease is not None
            result = confirmation_record(reason="it diverged")
            if score is not None:
                right = np.arange(IMAGES) < round(score * IMAGES)
                packed = base64.b64encode(np.packbits(right).tobytes()).decode()
                result = confirmation_record(score=score, images=IMAGES, correct=packed)
            assert self.storage.confirmations.write(lease, number, result)
            self.confirmed[study].append((number, score))

    def best(self, study: str) -> FrozenTrial | None:
        complete = [t for t in self.trials[study] if t.state == TrialState.COMPLETE]
        return max(complete, key=lambda t: t.value or 0, default=None)

    def open(self, study: str, measured: bool, recorded: bool, *result: Any) -> None:
        best, name, data = self.best(study), self.specs[study].name, self.data[study]
        if best is None:
            return
        made = self.storage.openings.write(name, data.fingerprint, best.number, "me", "why")
        if not recorded:  # as versions did that knew of no examples
            with self.storage.openings.engine.begin() as connection:
                old = openings.update().where(openings.c.id == made).values(examples=None)
                connection.execute(old)
        found = self.result(study, best, *result) if measured else None
        if found is not None:
            self.storage.openings.write_result(made, FinalRecord.model_validate(found))
        examples = data.sealed if recorded else None
        self.openings.append(Opened(study, self.ages[study], found, data.fingerprint, examples))

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
        other = best.number % 3 == 1  # the best score was another trial's, which was not chosen
        top = min(1.0, (best.value or 0.0) + 0.05) if other else best.value
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
            "search": {"complete": complete, "trials": len(self.trials[study]),
                       "best": top, "trial": best.number + other, "optimism": 0.0123},
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

    def report_of(rng: Random) -> None:
        number = next(names)
        space = {"filters": {"low": 8, "high": 11}}
        specs = {s: spec_of(f"{s}-{number}", space=space, trials=20) for s in STUDIES}
        if rng.random() < 0.4:
            continuing = {"continues": specs["earlier"].name}
            specs["mine"] = specs["mine"].model_copy(update=continuing)
        world = World(ledger, data_of(rng, number), specs)
        for study in STUDIES:
            world.enter(study)
        act: dict[str, Callable[..., None]] = {
            "trial": world.trial, "confirm": world.confirm, "open": world.open,
            "delete": world.delete,
        }  # fmt: skip
        for what, arguments in steps(rng):
            act[what](*arguments)
        report = make_report(ledger, specs["mine"].name)
        text = markdown(report)
        check_claims(world, "mine", text)
        check_against_each_other(text)
        check_other_places(world, "mine", report, text)
        with ledger.openings.engine.begin() as connection:  # those of one world are no other's
            connection.execute(openings.delete())
        seen.update(claim for claim in CLAIMS if claim in text)

    # Not by hypothesis, whose examples change with the numbers in the package's modules.
    for seed in range(300):
        report_of(Random(seed))
    assert seen == set(CLAIMS), "every claim has to come up"


def check_claims(world: World, study: str, text: str) -> None:
    """Check every claim of a report against what was done."""
    mine = [o.result for o in world.openings if (o.study, o.age) == (study, world.ages[study])]
    final = next((result for result in reversed(mine) if result is not None), None)
    check_seal(world, study, text, len(mine), final)
    check_choice(world, study, text, final)
    check_confirmed(world, study, text)
    if final is None:
        assert not re.search(r"on validation|\| validation \||validation accuracy", text)
        assert "How far" not in text and "Tuning changed validation" not in text
    else:
        check_final(world, study, text, final)


def check_seal(
    world: World, study: str, text: str, mine: int, final: dict[str, Any] | None
) -> None:
    data, age = world.data[study], world.ages[study]
    scored_here = world.best(study) is not None or final is not None
    looked = [o for o in world.openings if any(o.shown(data))]
    times, once = len(looked), len(looked) == 1 and mine == 1
    continues = world.specs[study].continues is not None
    leak = sum(e in world.data["earlier"].searched for e in data.sealed) if continues else 0
    honest = once and not leak
    assert ("opened once." in text) == (honest and scored_here)
    assert ("opened once: optimistic." in text) == (once and bool(leak) and scored_here)
    assert ("optimistic" in text) == (bool(leak or (times and not once)) and scored_here)
    assert (f"Leak: {leak} of {len(data.sealed)} " in text) == (leak > 0 and scored_here)
    assert ("has to be asked for" in text) == (times > 0 and not mine and scored_here)
    check_shares(world, study, text, [o for o in looked if (o.study, o.age) != (study, age)])
    assert ("still sealed" in text) == (times == 0 and scored_here)
    for told in re.findall(r"opened (\d+) times", text):
        assert int(told) == times
    for claim in ("judged it, once", "seen by nothing before"):
        assert (claim in text) == (honest and final is not None), claim


def check_shares(world: World, study: str, text: str, others: list[Opened]) -> None:
    """Check how much others have seen against plain lists of examples."""
    data = world.data[study]
    seen = [any(o.shown(data)[i] for o in others) for i in range(len(data.sealed))]
    told = re.search(r"Other studies have seen (\d+) of (\d+)", text)
    if told is not None:
        assert (int(told[1]), int(told[2])) == (sum(seen), len(seen)) and 0 < sum(seen) < len(seen)
    elif "by study '" in text:
        assert all(seen)
    parts = re.search(r"optimistic \((.*)\)\.", text)
    if parts is None:
        return
    said = Counter[tuple[str, int]]()
    for n, name, shown in re.findall(
        r"(\d+) by study '(\w+)-\d+'[^,]*?(?:, which this one continues)?"
        r"(?:, which showed (\d+) of its \d+)?(?=, \d|$)",
        parts[1],
    ):
        said[name, int(shown or len(seen))] += int(n)
    assert said == Counter((o.study, sum(o.shown(data))) for o in others)
    whole = re.search(r"(\d+) opening\(s\) by others did not record", text)
    assert (0 if whole is None else int(whole[1])) == sum(o.examples is None for o in others)


NEVER_TOGETHER = (
    ("still sealed", "was opened"),
    ("still sealed", "judged it"),
    ("still sealed", "has to be asked for"),
    ("judged it, once", "optimistic"),
    ("seen by nothing before", "optimistic"),
    ("seen by nothing before", "Leak: "),
    ("opened once.", "Other studies have seen"),
    ("the search found nothing better", "scored better on test since"),
    ("the search found nothing better", "would be the choice now"),
    ("the search found nothing better", "Tuning gained"),
    ("The choice is the default", "Tuning gained"),
    ("it was worth it.", "was not worth it"),
    ("Choice so far", "Final choice"),
    ("Choice so far", "on validation"),
    ("scored better on test since", "would be the choice now"),
    ("is no worse than the best test score", "worse than the best test score, which"),
)


def check_against_each_other(text: str) -> None:
    """Check that no two claims contradict each other."""
    for one, other in NEVER_TOGETHER:
        assert not (one in text and other in text), (one, other)
    gained = re.search(r"Tuning gained ([-+][\d.]+)", text)
    assert gained is None or float(gained[1]) >= 0
    top = re.search(r"^## Best .*\n+\| trial .*\n.*\n\| (\d+) \| ([\d.]+)", text, re.M)
    choice = re.search(r"(?:Final choice|Choice so far): trial (\d+)", text)
    if "the search found nothing better" in text:
        assert top is not None and choice is not None
        mine = re.search(rf"^\| {choice[1]} \| ([\d.]+) \| complete", text, re.M)
        assert mine is not None and mine[1] == top[2]
    since = re.search(r"best test score of (\d+) complete trial\(s\)( at that time)?", text)
    now = re.search(r"(\d+) complete, ", text)
    if since is not None and now is not None:
        assert (since[1] != now[1]) == (since[2] is not None)


def check_other_places(world: World, study: str, report: Report, text: str) -> None:
    """Check that status, audit, export and JSON say the same as the report."""
    data, seal = world.data[study], report.seal
    looked = [o for o in world.openings if any(o.shown(data))]
    told = as_json(report)
    assert told["openings_in_all"] == len(looked) == len(seal.history())
    if report.decision.trial is None:
        return
    assert all(line in text for line in told["seal"])
    number = report.decision.trial.number
    assert re.search(rf"(Final choice|Choice so far): trial {number},", text)
    assert told["chosen"]["number"] == number
    exported = exported_yaml(report.study, report.decision.trial, report.final, seal.is_honest)
    assert f"Trial {number} of study" in exported
    assert ("sealed until it was chosen" in exported) == ("judged it, once" in text)
    assert ("score is optimistic" in exported) == ("| judged it |" in text)


def check_choice(world: World, study: str, text: str, final: dict[str, Any] | None) -> None:
    best = world.best(study)
    so_far = re.search(r"Choice so far: trial (\d+)", text)
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
        assert final is not None and best is not None and int(since[1]) == best.number
        assert int(since[1]) >= final["search"]["trials"], "it came after the opening"
        later, chosen_value = values[int(since[1])], values[final["trial"]]
        assert later is not None and chosen_value is not None and later > chosen_value
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
        assert "cannot be distinguished" not in text and "distinguished from the others" not in text
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
    if "distinguished from the others" in part or "has the best score" in part:
        assert means[chosen] == max(means.values())
    tie = re.search(r"Trials ([\d, ]+) cannot be distinguished", part)
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
    own = final["search"]["trial"] != final["trial"] and not both
    if own:  # the best score was another network's, which says nothing of this one's
        best = final["test"]["accuracy"]
    assert ("the choice's own test score" in text) == own
    assert ("is no worse than the" in text) == (score >= best)
    assert ("which lies within" in text) == (score < best and low <= best <= high)
    assert ("score is too good" in text) == (score < best and not low <= best <= high)
    assert ("by about 0.0123" in text) == (final["search"]["complete"] > 1)
    cost = re.search(r"It cost (\d+) trained trial", text)
    assert cost is not None and int(cost[1]) == len(world.trials[study])
    assert ("is the default configuration" in text) == (
        final["trial"] == 0 and world.trials[study][0].state == TrialState.COMPLETE
    )
    check_gain(text, final["baseline"])


def check_gain(text: str, baseline: dict[str, Any] | None) -> None:
    measured = baseline is not None and "gain" in baseline
    assert ("Tuning changed validation" in text) == measured
    assert ("could not be trained beside" in text) == (baseline is not None and not measured)
    found = baseline["gain_interval"] if baseline is not None and measured else None
    low, high = found or (0, 0)
    assert ("it was worth it." in text) == (low > 0)
    assert ("was not worth it" in text) == (high < 0)
    assert ("that may be chance" in text) == (found is not None and low <= 0 <= high)
    assert ("do not tell whether by luck" in text) == (measured and found is None)
