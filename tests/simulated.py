"""Simulated studies of which the truth is known: noisy scores of many configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Truths = Callable[[np.random.Generator, tuple[int, int]], Floats]


def tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Many good configurations, and a tail of bad ones, as random search finds them."""
    return np.maximum(0.92 - rng.exponential(0.03, shape), 0.1)


def improving(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """The later, the better, as a sampler that learns finds them."""
    scale = np.linspace(0.046, 0.006, shape[1])
    return np.maximum(0.92 - rng.exponential(scale, shape), 0.1)


def equal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """All the same, so that the search has found nothing but luck."""
    return np.full(shape, 0.9)


def of_two_kinds(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """A good kind and a bad one."""
    return np.where(rng.random(shape) < 0.3, 0.91, 0.8)


def on_a_plateau(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Half of them nearly alike at the top, half a tail."""
    tail, top = rng.exponential(0.05, shape), 0.004 * rng.random(shape)
    return np.maximum(0.92 - np.where(rng.random(shape) < 0.5, tail, top), 0.1)


def narrow(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Normal, and closer together than the noise."""
    return 0.9 + 0.004 * rng.normal(size=shape)


@dataclass(frozen=True)
class Studies:
    """So many searches and what came of them, `(studies,)` each but `scores`.

    `scores` `(studies, configs)` are those of the search, `best` the highest; `truth` is what the
    chosen configuration is worth on all images, over seeds; `final_truth` the same of the network
    that was trained last, `validation` its accuracy on so many images.
    """

    scores: Floats
    best: Floats
    truth: Floats
    final_truth: Floats
    validation: Floats
    again: Floats  # (studies, 3, 3): the best three configurations with three new seeds each


def studies(
    truths: Truths,
    count: int = 2000,
    configs: int = 40,
    test_images: int = 1000,
    validation_images: int = 1000,
    seed_sd: float = 0.003,
    seed: int = 0,
) -> Studies:
    """Return simulated studies; every training draws its own luck with seed and images."""
    rng = np.random.default_rng(seed)

    def trained(of: Floats) -> Floats:
        return np.clip(of + seed_sd * rng.normal(size=of.shape), 0, 1)

    def measured(of: Floats, images: int) -> Floats:
        return rng.binomial(images, of) / images

    worth = truths(rng, (count, configs))
    scores = measured(trained(worth), test_images)
    order = np.argsort(-scores, axis=1)[:, :3]
    finalists = np.take_along_axis(worth, order, axis=1)
    chosen = finalists[:, 0]
    final = trained(chosen)
    return Studies(
        scores=scores,
        best=scores.max(axis=1),
        truth=chosen,
        final_truth=final,
        validation=measured(final, validation_images),
        again=measured(trained(np.repeat(finalists[:, :, None], 3, axis=2)), test_images),
    )


EASY, SUITS = 0.8, 0.4  # how much an image and how it suits a configuration weigh; the rest is luck


@dataclass(frozen=True)
class Pictures:
    """One test split of images, some easier than others, for all configurations of a study.

    A training is right on an image where what its configuration is worth, how easy the image is,
    how well it suits the configuration, and luck add up to more than 0.
    """

    rng: np.random.Generator
    easy: Floats  # (images,)
    suits: Floats  # (configs, images)
    worth: Floats  # (configs,): accuracy on all images, over seeds
    seed_sd: float

    def hits(self, configs: NDArray[np.int64], seeds: int) -> NDArray[np.bool_]:
        """Return whether each training was right on each image `(configs, seeds, images)`."""
        level = ndtri(self.worth[configs])[:, None, None]
        density = np.exp(-0.5 * level**2) / np.sqrt(2 * np.pi)
        moves = self.rng.normal(size=(len(configs), seeds, 1)) * self.seed_sd / density
        luck = self.rng.normal(size=(len(configs), seeds, len(self.easy)))
        common = EASY * self.easy + SUITS * self.suits[configs][:, None]
        return np.asarray(level + moves + common + np.sqrt(1 - EASY**2 - SUITS**2) * luck > 0)


def pictures(
    rng: np.random.Generator, worth: Floats, images: int, seed_sd: float = 0.003
) -> Pictures:
    """Return a test split with its images drawn."""
    suits = rng.normal(size=(len(worth), images))
    return Pictures(rng, rng.normal(size=images), suits, worth, seed_sd)
