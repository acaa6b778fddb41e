"""A training put away and taken up again: bit for bit as if it had never been interrupted."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import get_args

import pytest
import torch
from made_trainings import BATCHES, CPU, Scores, after, config, scores_of
from torch import Tensor

from hpsearch.data.prepared import SearchData
from hpsearch.study.config import Family, Optimizer, Schedule, TrialConfig
from hpsearch.training.loop import Interrupted, train
from hpsearch.training.state import State, from_bytes, to_bytes

EPOCH = BATCHES + 1  # times that an epoch asks whether to stop: before each batch and evaluation

Trained = tuple[list[Scores], dict[str, Tensor]]

# Each stop counts from where the one before it left the training.
STOPS = {
    "in the middle of an epoch": [EPOCH + 4],
    "before an evaluation": [EPOCH + BATCHES],
    "between two epochs": [2 * EPOCH],
    "before the first batch": [0],
    "before the last evaluation": [3 * EPOCH - 1],
    "twice in an epoch": [EPOCH + 2, 5],
    "twice at one place": [EPOCH + 4, 0],
    "before and after an evaluation": [BATCHES, 1],
}
ALL_STOPS = [5, 2, 3, 1, 0, EPOCH + 3, 0, 7]  # the same, one after the other, in three epochs


def undisturbed(settings: TrialConfig, data: SearchData) -> Trained:
    curve = []
    for epoch, training in train(settings, data, CPU):  # noqa: B007 - the last one is kept
        curve.append(scores_of(epoch))
    return curve, training.model.state_dict()


def disturbed(settings: TrialConfig, data: SearchData, stops: list[int]) -> Trained:
    """Train, put away at every stop, and taken up again from bytes alone."""
    state: State | None = None
    for asks in stops:
        with pytest.raises(Interrupted) as asked:
            list(train(settings, data, CPU, after(asks), state))
        state = from_bytes(to_bytes(asked.value.training.state()), CPU)
        torch.rand(100)  # another process has another generator
    curve = []
    for epoch, training in train(settings, data, CPU, state=state):  # noqa: B007
        curve.append(scores_of(epoch))
    return curve, training.model.state_dict()


def assert_same(got: Trained, expected: Trained) -> None:
    assert got[0] == expected[0]
    assert got[1].keys() == expected[1].keys()
    for name, weight in expected[1].items():
        assert torch.equal(got[1][name], weight), name


@pytest.mark.parametrize("family", sorted(set(get_args(Family)) - {"pretrained"}))
def test_a_training_of_any_family_goes_on_as_exactly(family: str, stripes: SearchData) -> None:
    settings = config(family=family)
    assert_same(disturbed(settings, stripes, ALL_STOPS), undisturbed(settings, stripes))


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_a_training_interrupted_again_and_again_ends_as_if_undisturbed(
    optimizer: str, schedule: str, stripes: SearchData
) -> None:
    settings = config(optimizer=optimizer, schedule=schedule)
    assert_same(disturbed(settings, stripes, ALL_STOPS), undisturbed(settings, stripes))


@pytest.mark.parametrize("early_stopping", [None, 1])
def test_a_training_of_averaged_weights_goes_on_as_exactly(
    early_stopping: int | None, stripes: SearchData
) -> None:
    settings = config(averaging="ema", early_stopping=early_stopping)
    assert_same(disturbed(settings, stripes, ALL_STOPS), undisturbed(settings, stripes))


@pytest.mark.parametrize("where", STOPS)
def test_it_does_not_matter_where_a_training_is_interrupted(
    where: str, stripes: SearchData
) -> None:
    assert_same(disturbed(config(), stripes, STOPS[where]), undisturbed(config(), stripes))


# Of 160 images: a part of a pass, one that a batch does not divide, and less than a batch.
@pytest.mark.parametrize("epoch_images", [80, 70, 12])
def test_a_training_of_short_epochs_goes_on_as_exactly(
    epoch_images: int, stripes: SearchData
) -> None:
    settings = config(epoch_images=epoch_images, epochs=8)
    asks = max(1, epoch_images // 16) + 1  # of an epoch
    stops = [asks + 1, 0, 1, asks, 2 * asks - 1]
    assert_same(disturbed(settings, stripes, stops), undisturbed(settings, stripes))


@pytest.mark.parametrize("epoch_images", [160, 1000])
def test_epochs_of_all_images_are_whole_passes(epoch_images: int, stripes: SearchData) -> None:
    settings = config(epoch_images=epoch_images)
    assert_same(undisturbed(settings, stripes), undisturbed(config(), stripes))


def test_a_training_in_bf16_goes_on_as_exactly(stripes: SearchData) -> None:
    settings = config(precision="bf16")
    assert_same(disturbed(settings, stripes, ALL_STOPS), undisturbed(settings, stripes))


def test_a_training_in_parts_of_a_batch_goes_on_as_exactly(stripes: SearchData) -> None:
    settings = config(micro_batches=4)
    assert_same(disturbed(settings, stripes, ALL_STOPS), undisturbed(settings, stripes))


def test_a_rate_that_falls_on_a_plateau_falls_at_the_same_epoch(stripes: SearchData) -> None:
    settings = config(schedule="plateau", patience=0, learning_rate=0.3, epochs=6)
    expected = undisturbed(settings, stripes)
    losses = [scores[2] for scores in expected[0]]
    assert losses[:-1] != sorted(losses[:-1], reverse=True), "the rate has to fall for this test"
    for stops in ([3 * EPOCH], [EPOCH] * 5, [2 * EPOCH + 3]):
        assert_same(disturbed(settings, stripes, stops), expected)


def test_what_was_kept_after_an_epoch_goes_on_too(stripes: SearchData) -> None:
    expected = undisturbed(config(), stripes)
    kept = [to_bytes(training.state()) for _, training in train(config(), stripes, CPU)]
    for content in kept:
        curve = []
        state = from_bytes(content, CPU)
        for epoch, training in train(config(), stripes, CPU, state=state):  # noqa: B007
            curve.append(scores_of(epoch))
        assert_same((curve, training.model.state_dict()), expected)


def test_epochs_that_are_over_are_yielded_again_without_training(stripes: SearchData) -> None:
    with pytest.raises(Interrupted) as asked:
        list(train(config(), stripes, CPU, after(2 * EPOCH + 1)))
    first = asked.value.training
    again = train(config(), stripes, CPU, interrupted=lambda: True, state=first.state())
    assert [next(again)[0] for _ in range(2)] == first.epochs  # durations included
    with pytest.raises(Interrupted) as at_once:
        next(again)
    assert at_once.value.training.batches == first.batches == 1


def test_the_time_before_an_interruption_counts_for_its_epoch(stripes: SearchData) -> None:
    with pytest.raises(Interrupted) as asked:
        list(train(config(), stripes, CPU, after(4)))
    state = asked.value.training.state()
    assert state["elapsed_s"] > 0
    epoch, _ = next(train(config(), stripes, CPU, state=state | {"elapsed_s": 100.0}))
    assert 100 < epoch.duration_s < 160


# Bytes


@pytest.fixture(scope="module")
def content(stripes: SearchData) -> bytes:
    with pytest.raises(Interrupted) as asked:
        list(train(config(), stripes, CPU, after(EPOCH + 4)))
    return to_bytes(asked.value.training.state())


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    planted = {"format": 1, "model": Planted(tmp_path / "ran")}
    saved = io.BytesIO()
    torch.save(planted, saved)
    for content in (pickle.dumps(planted), saved.getvalue()):
        with pytest.raises(ValueError, match="cannot be read"):
            from_bytes(content, CPU)
    assert not (tmp_path / "ran").exists()


def test_broken_bytes_are_refused(content: bytes) -> None:
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 0xFF])
    broken = {
        "nothing": b"",
        "text": b"these are notes, and no checkpoint at all",
        "zeros": bytes(len(content)),
        "the first half": content[:middle],
        "the second half": content[middle:],
        "all but the end": content[:-1],
        "a flipped byte": content[:middle] + flipped + content[middle + 1 :],
    }
    for what, written in broken.items():
        with pytest.raises(ValueError, match="cannot be read"):
            pytest.fail(f"{what} was read: {from_bytes(written, CPU)}")
    assert from_bytes(content, CPU)["batches"] == 4


@pytest.mark.parametrize("other", [{"format": 0}, {}, [1, 2], None], ids=str)
def test_what_another_version_wrote_is_refused(other: object) -> None:
    with pytest.raises(ValueError, match="another version"):
        from_bytes(to_bytes(other), CPU)  # type: ignore[arg-type]
