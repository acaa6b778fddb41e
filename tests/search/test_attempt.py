"""One training to its end under a lease: heard epoch by epoch, kept whole, and given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_trainings import CPU, config, scores_of, striped

from hpsearch.search.attempt import Attempt, Watch
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.training.loop import train


@dataclass
class Hand:
    """A lease held by hand."""

    lost: bool = False
    said: list[str] = field(default_factory=list)
    stops_after: float = float("inf")  # batches

    def batch_over(self) -> None:
        self.said.append("batch")

    def epoch_over(self) -> None:
        self.said.append("epoch")

    def why_stop(self) -> str | None:
        return "asked" if self.said.count("batch") > self.stops_after else None


def attempt(place: Path, held: Hand, **options: Any) -> Attempt:
    checkpoints = Checkpoints(str(place), every_s=0.0, keep_free_bytes=0)
    stopped = options.pop("stopped", lambda: False)
    return Attempt(striped(), CPU, held, checkpoints, "study", "final", stopped, **options)


def test_an_interrupted_training_is_heard_whole_by_whoever_goes_on(tmp_path: Path) -> None:
    expected = [scores_of(epoch) for epoch, _ in train(config(), striped(), CPU)]
    heard: list[Any] = []
    first = Hand(stops_after=15)
    assert attempt(tmp_path, first, hear=heard.append).train(config()) is None
    assert [scores_of(epoch) for epoch in heard] == expected[:1]
    assert first.said.count("epoch") == 1
    heard.clear()
    second = Hand()
    ended = attempt(tmp_path, second, hear=heard.append).train(config())
    assert ended is not None and ended.training is not None
    assert [scores_of(epoch) for epoch in heard] == expected
    assert [scores_of(epoch) for epoch in ended.epochs] == expected
    assert second.said.count("epoch") == 2, "of the first it has heard before"


def test_a_lost_lease_keeps_nothing(tmp_path: Path) -> None:
    assert attempt(tmp_path, Hand(lost=True, stops_after=5)).train(config()) is None
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("early_stopping", [None, 1])
def test_a_whole_training_is_kept_where_that_is_asked_for(
    early_stopping: int | None, tmp_path: Path
) -> None:
    settings = config(early_stopping=early_stopping, epochs=6)
    first = attempt(tmp_path, Hand(), keeps_last=True)
    ended = first.train(settings)
    held = Hand(stops_after=0)  # it could not train a single batch
    again = attempt(tmp_path, held, keeps_last=True).train(settings)
    assert ended is not None and again is not None
    assert again.epochs == ended.epochs
    assert ended.training is not None and again.training is not None
    weights = ended.training.model.state_dict()
    for name, weight in again.training.model.state_dict().items():
        assert weight.equal(weights[name])
    first.drop(settings)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_loss_that_is_no_number_ends_a_training_with_its_curve(tmp_path: Path) -> None:
    settings = config(optimizer="sgd", batch_norm=False, schedule="constant")
    settings = settings.model_copy(update={"learning_rate": 1e30})  # above what a study may ask
    ended = attempt(tmp_path, Hand()).train(settings)
    assert ended is not None and ended.training is None and ended.infeasible is None
    assert ended.reason == "the loss was no finite number after epoch 1"
    assert len(ended.epochs) == 1


def test_a_time_limit_counts_what_earlier_attempts_trained() -> None:
    assert not Watch(Hand(), lambda: False, timeout_s=60, trained_s=50).must_stop()
    assert Watch(Hand(), lambda: False, timeout_s=60, trained_s=61).must_stop()
