"""Which finalists are trained again, which can win, and which is chosen: with scores made up."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from fixtures_storage import on_sqlite
from made_studies import claimed, enter, open_leases, run_trial, stored
from sqlalchemy import func, select, update

from hpsearch.search import finalists as confirm
from hpsearch.search.finalists import Plan, candidates, choice, plan, verdict
from hpsearch.storage.records import ConfirmationRecord
from hpsearch.storage.schema import FINALIST, confirmations, leases, studies
from hpsearch.storage.storage import Storage
from hpsearch.storage.waiting import Waiting
from hpsearch.study.spec import StudySpec

IMAGES = 1000


def searched(
    storage: Storage,
    *scores: float,
    confirm: Any = None,
    parameters: tuple[int, ...] = (),
    data: Any = None,
    **search: Any,
) -> StudySpec:
    """Return a study whose search is over, its trials complete with these scores."""
    spec = StudySpec.model_validate(
        {
            "name": "made",
            "data": {"source": "digits"} | (data or {}),
            "space": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
            "search": {"trials": len(scores), "epochs": 1, "pruner": "none"} | search,
            "confirm": {"candidates": 3, "seeds": 3} if confirm is None else confirm,
        }
    )
    enter(storage, spec)
    storage.ledger.begin_launch(
        "made",
        spec.model_dump_json(),
        len(scores),
        spec.search.timeout,
        confirm=spec.candidates() > 0,
    )
    for number, score in enumerate(scores):
        size = parameters[number] if parameters else 1000
        run_trial(storage, spec, (score,), parameters=size, forward_flops=10_000 - size)
    return spec


def right(count: int, seed: int = 0) -> ConfirmationRecord:
    """Return the result of a training that is right about so many images, the easiest of which
    all trainings are right about; which of the hard ones, the seed decides."""
    hits = np.zeros(IMAGES, np.bool_)
    hits[: count - 20] = True
    hard = np.random.default_rng(seed).choice(IMAGES - count + 20, 20, replace=False)
    hits[count - 20 + hard] = True
    assert hits.sum() == count
    packed = base64.b64encode(np.packbits(hits).tobytes()).decode()
    return ConfirmationRecord(score=count / IMAGES, images=IMAGES, correct=packed)


def confirmed(storage: Storage, number: int, *results: ConfirmationRecord, first: int = 0) -> None:
    """Write what trainings of a trial came to, each with the next seed; slots count as trials."""
    for repeat, result in enumerate(results, start=first):
        lease = storage.leases.claim("made", "worker", kind=FINALIST, slot=number, repeat=repeat)
        assert lease is not None
        assert storage.confirmations.write(lease, number, result)


def due(storage: Storage, spec: StudySpec) -> list[tuple[int, int]]:
    return [(d.trial.number, d.repeat) for d in plan(stored(storage, spec)).due]


def waiting(storage: Storage) -> Waiting:
    (found,) = storage.ledger.waiting()
    return found


def chosen(storage: Storage, spec: StudySpec) -> int:
    found = choice(stored(storage, spec))
    assert found is not None
    return found.number


@on_sqlite
def test_the_best_are_trained_with_two_seeds_before_any_of_them_gets_a_third(
    storage: Storage,
) -> None:
    spec = searched(storage, 0.7, 0.9, 0.8, 0.6, 0.85)
    assert due(storage, spec) == [(1, 0), (4, 0), (2, 0), (1, 1), (4, 1), (2, 1)]
    for number in (1, 4):
        confirmed(storage, number, right(900, number), right(903, number + 10))
    confirmed(storage, 2, right(901))
    assert due(storage, spec) == [(2, 1)]
    assert plan(stored(storage, spec)) == Plan(plan(stored(storage, spec)).due, ended=5, of=9)
    confirmed(storage, 2, right(899, 5), first=1)
    assert due(storage, spec) == [(1, 2), (4, 2), (2, 2)]


@on_sqlite
def test_a_candidate_that_cannot_win_any_more_gets_no_third_seed(storage: Storage) -> None:
    spec = searched(storage, 0.9, 0.8, 0.7)
    confirmed(storage, 0, right(900), right(903, 1))
    confirmed(storage, 1, right(898, 2), right(902, 3))
    confirmed(storage, 2, right(700, 4), right(705, 5))
    assert due(storage, spec) == [(0, 2), (1, 2)]
    assert plan(stored(storage, spec)).of == 8, "one training is saved"
    confirmed(storage, 0, right(901, 6), first=2)
    confirmed(storage, 1, right(900, 7), first=2)
    assert due(storage, spec) == []
    found = verdict(stored(storage, spec))
    assert found is not None
    assert [(f.trial.number, f.out_after, f.tied) for f in found.finalists] == [
        (0, None, True),
        (1, None, True),
        (2, 2, False),
    ]


@on_sqlite
def test_the_best_mean_is_chosen_where_it_is_told_apart(storage: Storage) -> None:
    spec = searched(storage, 0.9, 0.8, 0.7, parameters=(10, 5000, 20))
    for number, count in ((0, 700), (1, 900), (2, 650)):
        confirmed(storage, number, *(right(count + i, 10 * number + i) for i in range(2)))
    confirmed(storage, 1, right(902, 7), first=2)
    assert due(storage, spec) == []
    assert chosen(storage, spec) == 1, "though the search ranked it second, and it is large"


@on_sqlite
@pytest.mark.parametrize(("prefer", "wins"), [("smaller", 1), ("faster", 0), ("score", 2)])
def test_of_a_tie_the_preferred_network_wins(storage: Storage, prefer: str, wins: int) -> None:
    wish = {"candidates": 3, "seeds": 2, "prefer": prefer}
    spec = searched(storage, 0.9, 0.8, 0.7, confirm=wish, parameters=(3000, 1000, 2000))
    for number, count in ((0, 899), (1, 898), (2, 900)):
        confirmed(storage, number, *(right(count + 6 * i, 10 * number + i) for i in range(2)))
    found = verdict(stored(storage, spec))
    assert found is not None and all(f.tied for f in found.finalists)
    assert chosen(storage, spec) == wins


@on_sqlite
def test_with_one_seed_each_nothing_is_called_a_tie(storage: Storage) -> None:
    spec = searched(storage, 0.9, 0.8, confirm={"seeds": 1, "candidates": 2}, parameters=(9, 1))
    confirmed(storage, 0, right(900))
    confirmed(storage, 1, right(899, 1))
    assert due(storage, spec) == []
    assert chosen(storage, spec) == 0


@on_sqlite
def test_a_candidate_that_diverges_with_one_seed_is_not_chosen_and_gets_no_more(
    storage: Storage,
) -> None:
    spec = searched(storage, 0.9, 0.8, 0.7)
    confirmed(storage, 0, right(990), ConfirmationRecord(reason="the loss was no finite number"))
    confirmed(storage, 1, right(900), right(903, 1))
    confirmed(storage, 2, right(899, 2), right(902, 3))
    assert due(storage, spec) == [(1, 2), (2, 2)]
    assert chosen(storage, spec) in (1, 2)
    found = verdict(stored(storage, spec))
    assert found is not None and found.finalists[0].failed == "the loss was no finite number"


@on_sqlite
def test_where_every_candidate_fails_the_best_of_the_search_is_chosen(storage: Storage) -> None:
    spec = searched(storage, 0.7, 0.9, confirm={"candidates": 2, "seeds": 1})
    for number in (0, 1):
        confirmed(storage, number, ConfirmationRecord(reason="out of memory"))
    assert due(storage, spec) == [] and verdict(stored(storage, spec)) is None
    assert chosen(storage, spec) == 1


@on_sqlite
def test_a_candidate_counts_once_all_that_are_ranked_before_it_were_trained_again(
    storage: Storage,
) -> None:
    spec = searched(storage, 0.9, 0.8, 0.7)
    confirmed(storage, 1, right(950), right(951, 1))
    assert chosen(storage, spec) == 0
    confirmed(storage, 0, right(700))
    assert chosen(storage, spec) == 1


@on_sqlite
def test_errors_are_ranked_the_other_way(storage: Storage) -> None:
    data = {"source": "arrays", "root": "numbers.npz", "task": "regression"}
    spec = searched(storage, 4.0, 1.0, 2.0, data=data, confirm={"candidates": 2, "seeds": 2})
    assert due(storage, spec) == [(1, 0), (2, 0), (1, 1), (2, 1)]
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.05, 1000)
    for number, error in ((1, 3.0), (2, 2.0)):
        for repeat in range(2):
            scores = (error + luck + rng.normal(0, 0.02, 1000)).astype("<f4")
            result = ConfirmationRecord(
                score=error + 0.03 * repeat,
                images=200,
                resampled=base64.b64encode(scores.tobytes()).decode(),
            )
            confirmed(storage, number, result, first=repeat)
    found = verdict(stored(storage, spec))
    assert found is not None and [f.tied for f in found.finalists] == [False, True]
    assert chosen(storage, spec) == 2


@on_sqlite
def test_a_configuration_that_was_tried_twice_is_one_candidate(storage: Storage) -> None:
    spec = searched(storage, 0.9, 0.8, 0.7, 0.6)
    study = stored(storage, spec)
    study.trials[1].params = dict(study.trials[0].params)
    assert [t.number for t in candidates(study)] == [0, 2, 3]


@on_sqlite
def test_more_trials_bring_new_candidates_and_keep_what_is_known_of_old_ones(
    storage: Storage,
) -> None:
    spec = searched(storage, 0.9, 0.8, confirm={"candidates": 2, "seeds": 2})
    for number in (0, 1):
        confirmed(storage, number, right(900, number), right(903, number + 5))
    storage.ledger.begin_launch("made", spec.model_dump_json(), 3, None, confirm=True)
    run_trial(storage, spec, (0.85,), parameters=10, forward_flops=1)
    assert due(storage, spec) == [(2, 0), (2, 1)]


def test_each_training_is_claimed_once_and_the_last_claim_ends_the_confirming(
    storage: Storage,
) -> None:
    searched(storage, 0.9, 0.8, confirm={"candidates": 2, "seeds": 1})
    assert waiting(storage).search_is_over and waiting(storage).confirms
    assert not waiting(storage).is_over
    held = [confirm.claim(storage, "made", f"worker {i}") for i in range(3)]
    first, second, third = held
    assert first is not None and second is not None and third is None
    assert {(first.slot, first.repeat), (second.slot, second.repeat)} == {(0, 0), (1, 0)}
    assert waiting(storage).confirming == 2 and waiting(storage).held == 0
    assert open_leases(storage, "made") == 0, "they are no trials"
    assert storage.leases.claim("made", "worker") is None
    for lease, number in ((first, 0), (second, 1)):
        assert storage.confirmations.write(lease, number, right(900))
        assert not storage.confirmations.write(lease, number, right(900)), "it ends once"
    assert waiting(storage).confirms, "nobody has looked yet"
    assert confirm.claim(storage, "made", "worker") is None
    assert not waiting(storage).confirms and waiting(storage).is_over
    with storage.ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(confirmations)).scalar() == 2


def test_a_dead_workers_training_is_taken_over_and_it_loses_the_right_to_write(
    storage: Storage,
) -> None:
    searched(storage, 0.9, confirm={"candidates": 1, "seeds": 1})
    dead = confirm.claim(storage, "made", "dead")
    assert dead is not None
    assert confirm.claim(storage, "made", "alive") is None, "the lease holds"
    storage.leases.expire_worker("dead")
    alive = confirm.claim(storage, "made", "alive")
    assert alive is not None and (alive.slot, alive.attempts) == (dead.slot, 2)
    assert not storage.confirmations.write(dead, 0, right(800))
    assert storage.confirmations.write(alive, 0, right(900))
    storage.leases.expire_worker("alive")
    assert confirm.claim(storage, "made", "third") is None


def test_nothing_is_ended_while_a_worker_is_at_a_finalist(storage: Storage) -> None:
    searched(storage, 0.9, confirm={"candidates": 1, "seeds": 1})
    lease = confirm.claim(storage, "made", "worker")
    assert lease is not None
    storage.confirmations.end("made")
    assert waiting(storage).confirm_due
    storage.leases.give_back(lease)
    storage.confirmations.end("made")
    assert not waiting(storage).confirm_due


def test_deleting_a_study_deletes_its_confirmations(storage: Storage) -> None:
    searched(storage, 0.9, confirm={"candidates": 1, "seeds": 1})
    confirmed(storage, 0, right(900))
    storage.delete_study("made")
    assert storage.confirmations.of("made") == []


def spend(storage: Storage, seconds: float) -> None:
    with storage.ledger.engine.begin() as connection:
        connection.execute(update(studies).values(spent_s=seconds))


def test_the_time_that_is_kept_to_confirm_is_not_for_trials(storage: Storage) -> None:
    spec = searched(storage, 0.9, 0.8, confirm={"candidates": 1, "seeds": 1}, timeout=100)
    storage.ledger.begin_launch("made", spec.model_dump_json(), 3, 100.0, confirm=True)
    storage.ledger.set_final_s("made", 10.0, 20.0)
    lease = claimed(storage, spec)
    pulse = storage.leases.renew(lease)
    assert pulse is not None and pulse.kept_s == 30.0
    storage.leases.give_back(lease)
    spend(storage, 75)
    now = waiting(storage)
    assert now.time_is_up and not now.has_work and now.search_is_over
    assert now.confirms and not now.is_over
    again = confirm.claim(storage, "made", "worker")
    assert again is not None
    pulse = storage.leases.renew(again)
    assert pulse is not None and pulse.kept_s == 10.0, "what the final needs is kept from both"
    storage.leases.give_back(again)
    spend(storage, 95)
    assert not waiting(storage).confirms and waiting(storage).is_over


def test_a_training_that_would_not_end_in_time_is_not_begun(storage: Storage) -> None:
    searched(storage, 0.9, confirm={"candidates": 1, "seeds": 3}, timeout=100)
    storage.ledger.set_final_s("made", 10.0, 20.0)
    spend(storage, 89.5)  # a trial of `run_trial` took a second
    assert waiting(storage).confirms
    assert confirm.claim(storage, "made", "worker") is None
    assert waiting(storage).is_over
    with storage.ledger.engine.connect() as connection:
        begun = select(func.count()).where(leases.c.kind == FINALIST)
        assert connection.execute(begun).scalar() == 0


def test_a_launch_without_confirm_keeps_no_time_for_it(storage: Storage) -> None:
    spec = searched(storage, 0.9, timeout=100)
    storage.ledger.set_final_s("made", 10.0, 20.0)
    storage.ledger.begin_launch("made", spec.model_dump_json(), 3, 100.0)
    spend(storage, 75)
    assert waiting(storage).has_work and not waiting(storage).confirms
