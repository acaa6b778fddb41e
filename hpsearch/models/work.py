"""What an epoch of a network asks of a device, known before it is trained."""

from __future__ import annotations

from hpsearch.models.cost import BF16_BYTES, FP32_BYTES, OPTIMIZER_STATES, Cost
from hpsearch.models.speed import Work
from hpsearch.study.config import TrialConfig

EVALUATED_AT_ONCE = 500  # images, as in the training loop
BACKWARD_MOVES = 2  # times what the forward pass moves: a map and its gradient are read


def work_of(cost: Cost, config: TrialConfig, train: int, test: int) -> Work:
    """Return the work of an epoch of a configuration on so many images of train and test."""
    images = config.images_in_epoch(train)
    size = min(config.batch_size, images)
    steps = images // size
    taught = steps * size  # the last, partial batch is left out
    flops = (taught + test) * cost.forward_flops + taught * cost.backward_flops
    number_bytes = BF16_BYTES if config.precision == "bf16" else FP32_BYTES
    maps = (taught * (1 + BACKWARD_MOVES) + test) * cost.moved * number_bytes
    # A step reads and writes a weight, its gradient, and what the optimizer keeps of it.
    states = 2 * (2 + OPTIMIZER_STATES[config.optimizer]) * cost.parameters * FP32_BYTES
    calls = (3 * steps * config.micro_batches + test / EVALUATED_AT_ONCE) * cost.layers
    return Work(flops, maps + steps * states, calls)
