"""Tables of learning curves that nobody recorded: cheap, and with a known best."""

from __future__ import annotations

import numpy as np
from replays.table import Axis, Config, Table

AXES = (
    Axis("filters", (), 8, 48, 8, whole=True),
    Axis("layers", (1, 2, 3)),
    Axis("optimizer", ("adam", "adamw", "sgd")),
    Axis("learning_rate", (), 1e-4, 1e-1, log=True),
)


def made_table(rows: int = 60, epochs: int = 9, seed: int = 0, noise: float = 0.01) -> Table:
    """Return a table whose scores rise with the filters and fall away from a rate of 0.01."""
    rng = np.random.default_rng(seed)
    configs: list[Config] = []
    curves = []
    for _ in range(rows):
        filters = int(rng.choice(np.arange(8, 49, 8)))
        rate = float(10 ** rng.uniform(-4, -1))
        layers, optimizer = int(rng.integers(1, 4)), str(rng.choice(["adam", "adamw", "sgd"]))
        configs.append(
            {"filters": filters, "layers": layers, "optimizer": optimizer, "learning_rate": rate}
        )
        level = 0.9 + filters / 1000 - 0.05 * (np.log10(rate) + 2) ** 2 + 0.01 * layers
        wobble = rng.normal(0, noise, epochs) / np.arange(1, epochs + 1)
        curves.append(level - 0.3 / np.arange(1, epochs + 1) ** 0.8 + wobble)
    seconds = rng.uniform(0.5, 2.0, (rows, 1)) * np.ones((1, epochs))
    return Table("made", AXES, tuple(configs), np.array(curves), seconds)
