"""A balanced study: the loop draws every class equally often where the study asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_trainings import CPU, config, striped

from hpsearch.data.prepared import Labelled
from hpsearch.study.data import Balance, DataReference
from hpsearch.training.loop import train


@pytest.mark.parametrize(
    ("balance", "loss"),
    [
        ("none", -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))),  # what 9 to 1 leave to be known
        ("sampling", np.log(2)),  # what 1 to 1 do
    ],
)
def test_images_that_tell_nothing_are_called_as_often_as_they_are_drawn(
    balance: Balance, loss: float
) -> None:
    images, targets = np.full((300, 8, 8, 1), 100, np.uint8), np.arange(300) % 10 == 0
    split = Labelled(images, targets.astype(np.int64))
    data = replace(striped(), train=split, test=split)
    reference = DataReference(source="digits", balance=balance, fingerprint="none")
    settings = config(data=reference, dropout=0.0, epochs=6, batch_norm=False)
    *_, (epoch, _) = train(settings, data, CPU)
    assert epoch.train_loss == pytest.approx(loss, abs=0.03)
