"""The training loop: repeatable, interruptible, and it learns."""

import math
from typing import get_args

import pytest
import torch
from made_trainings import BATCHES, CPU, Scores, after, config, scores_of

from hpsearch.data.batches import resident
from hpsearch.data.prepared import SearchData
from hpsearch.study.config import Schedule, TrialConfig
from hpsearch.training.loop import Interrupted, evaluate, outputs_of, train
from hpsearch.training.state import Epoch


def curve(settings: TrialConfig, data: SearchData) -> list[Scores]:
    return [scores_of(epoch) for epoch, _ in train(settings, data, CPU)]


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_family_and_optimizer_learns_stripes(
    family: str, optimizer: str, stripes: SearchData
) -> None:
    settings = config(family=family, optimizer=optimizer, dropout=0.0, epochs=6)
    assert curve(settings, stripes)[-1][3] >= 0.95


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_learns_stripes(schedule: str, stripes: SearchData) -> None:
    assert curve(config(schedule=schedule, dropout=0.0, epochs=6), stripes)[-1][3] >= 0.95


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
def test_the_same_config_gives_the_same_numbers_twice(family: str, stripes: SearchData) -> None:
    settings = config(family=family)
    assert curve(settings, stripes) == curve(settings, stripes)


def test_another_seed_gives_other_numbers(stripes: SearchData) -> None:
    assert curve(config(), stripes) != curve(config(seed=8), stripes)


def test_what_a_listener_does_between_epochs_changes_nothing(stripes: SearchData) -> None:
    undisturbed = curve(config(), stripes)
    disturbed = []
    for epoch, _ in train(config(), stripes, CPU):
        disturbed.append(scores_of(epoch))
        torch.rand(1000)  # takes numbers from the generator that training uses
    assert disturbed == undisturbed


def test_a_training_stops_between_two_batches_when_asked(stripes: SearchData) -> None:
    epochs = train(config(), stripes, CPU, interrupted=after(BATCHES + 1 + 3))
    number = next(epochs)[0].number
    with pytest.raises(Interrupted) as asked:
        next(epochs)
    assert number == 1
    assert (len(asked.value.training.epochs), asked.value.training.batches) == (1, 3)


def test_a_training_stops_before_its_evaluation_when_asked(stripes: SearchData) -> None:
    with pytest.raises(Interrupted) as asked:
        next(train(config(), stripes, CPU, interrupted=after(BATCHES)))
    assert (asked.value.training.epochs, asked.value.training.batches) == ([], BATCHES)


def test_a_rate_far_too_high_is_reported_as_diverged(stripes: SearchData) -> None:
    settings = config(
        optimizer="sgd", learning_rate=10, schedule="constant", batch_norm=False, epochs=10
    )
    epochs = [epoch for epoch, _ in train(settings, stripes, CPU)]
    assert any(e.diverged for e in epochs)
    assert Epoch(1, math.nan, 0.5, 1.0, 0.5, 1.0).diverged
    assert not Epoch(1, 1.0, 0.5, 1.0, 0.5, 1.0).diverged


def test_the_last_epochs_metric_is_that_of_the_model_it_hands_over(stripes: SearchData) -> None:
    *_, (epoch, training) = train(config(), stripes, CPU)
    split = resident(stripes.test, stripes, CPU)
    loss, accuracy = evaluate(training.model, split, config(), training.task)
    assert (loss, accuracy) == (epoch.test_loss, epoch.test_metric)
    calls = outputs_of(training.model, split, config()).argmax(1)
    assert (calls == split.targets).double().mean().item() == accuracy


def test_bf16_learns_as_fp32_does(stripes: SearchData) -> None:
    exact = curve(config(dropout=0.0, epochs=6), stripes)
    rounded = curve(config(dropout=0.0, epochs=6, precision="bf16"), stripes)
    assert rounded != exact, "bf16 was asked for and not used"
    assert rounded[-1][3] >= 0.95


@pytest.mark.parametrize("family", ["alexnet", "resnet"])
@pytest.mark.parametrize("batch_size", [16, 13, 5], ids=["even", "uneven", "fewer-parts"])
def test_a_batch_in_parts_teaches_what_the_whole_batch_does(
    family: str, batch_size: int, stripes: SearchData
) -> None:
    settings = config(
        family=family, batch_norm=False, dropout=0.0, optimizer="sgd", batch_size=batch_size
    )
    parts = settings.model_copy(update={"micro_batches": 4})
    for whole, cut in zip(curve(settings, stripes), curve(parts, stripes), strict=True):
        assert cut == pytest.approx(whole, rel=1e-3)


def test_a_step_in_parts_has_the_gradient_of_the_whole_batch(stripes: SearchData) -> None:
    settings = config(
        batch_norm=False, dropout=0.0, optimizer="sgd", schedule="constant", epochs=1
    ).model_copy(update={"batch_size": 150})  # one step; its parts have 38, 38, 38 and 36 images
    weights = []
    for parts in (1, 4):
        *_, (_, training) = train(
            settings.model_copy(update={"micro_batches": parts}), stripes, CPU
        )
        weights.append(training.model.state_dict())
    whole, cut = weights
    for name, weight in whole.items():
        torch.testing.assert_close(cut[name], weight, rtol=1e-5, atol=1e-7)


def test_a_batch_larger_than_the_data_is_the_whole_data(stripes: SearchData) -> None:
    assert len(curve(config(batch_size=4096), stripes)) == 3
