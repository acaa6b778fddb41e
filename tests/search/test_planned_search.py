"""Searches within a plan: workers that obey its policy, over made curves, in made time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_searches import Search, made

from hpsearch.preflight.planning import Costs, plan
from hpsearch.search.promotion import Promote, rungs_of
from hpsearch.study.spec import StudySpec

# Seconds of an epoch on 56,000 images of Fashion-MNIST, one core, of 32 random networks from 1 to 4
# layers of 16 to 128 filters; measured, of each the mean of 5 to 20 steps.
FASHION = np.quantile([6.2, 12.8, 25.7, 43.0, 80.1, 125.1, 202.5], np.linspace(0, 1, 40))
DIGITS = np.geomspace(0.03, 0.4, 40)


@pytest.mark.parametrize(
    ("minutes", "workers", "epochs_s", "train", "fewest"),
    [
        pytest.param(20, 1, FASHION, 56_000, 25, id="56,000 images in 20 minutes on one core"),
        pytest.param(20, 2, FASHION, 56_000, 30, id="56,000 images in 20 minutes on two cores"),
        pytest.param(4, 2, FASHION * 12 / 56, 12_000, 20, id="12,000 in 4 minutes on two cores"),
        pytest.param(1, 1, DIGITS, 1_440, 15, id="digits in a minute on one core"),
        pytest.param(3, 2, DIGITS, 1_440, 40, id="digits in 3 minutes on two cores"),
    ],
)
def test_a_plan_leads_to_tens_of_trials_a_complete_one_and_little_idle_time(
    minutes: float, workers: int, epochs_s: np.ndarray, train: int, fewest: int
) -> None:
    costs = Costs(sorted(epochs_s), float(np.median(epochs_s)), "cpu", (1.0, 0.0, 0.0))
    written = {"name": "timed", "data": {"source": "digits"}, "search": {"minutes": minutes}}
    spec = StudySpec.model_validate(written)
    spec, found = plan(spec, costs, workers, "cpu", train=train)
    of_epochs = found.of_a_pass * epochs_s
    assert found.share >= 0.5, "most of the space can be afforded"
    rungs, tried = rungs_of(spec.search), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        of = made(rng, 400, spec.search.epochs, dying=0.05)
        affordable = of_epochs[of_epochs <= found.longest_s]
        of = replace(of, epoch_s=rng.choice(affordable, 400))
        search = Search(Promote(rungs, 3), of, workers, 400, found.search_s, seed)
        ended = search.run()
        assert [c for c in ended if c.kind == "complete"]
        assert not [c for c in ended if c.kind == "running"]
        tried.append(len(ended))
        kept_s = found.budget_s - found.search_s
        assert 0.9 * found.budget_s <= search.now_s + kept_s <= found.budget_s
    assert np.mean(tried) >= fewest, tried
    assert np.mean(tried) == pytest.approx(found.configurations, rel=0.4), "as it was said"
