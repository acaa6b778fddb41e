"""How the memory of a worker grows over many different architectures.

    python tests/benchmarks/memory.py [--architectures 200]

Trains one network after the other for an epoch of the digits, in the environment of a worker, each
of another shape; a process that has grown too far is followed by a fresh one, as a worker is.
Prints the memory after 20 and after all of them as JSON.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.machine.children import SPAWN, child_environment
from hpsearch.study.data import Data, DataReference

SETTLED = 20


def work(first: int, count: int, tell: Any) -> None:
    """Train from the `first` architecture on, until all are done or the process should end."""
    import torch

    from hpsearch.machine.memory import MemoryWatch, memory_bytes
    from hpsearch.preflight.probing import sampled
    from hpsearch.study.spec import StudySpec
    from hpsearch.training.loop import train

    torch.set_num_threads(1)
    prepared = prepare(Data(source="digits", image_size=16))
    data = load_search_data(prepared.folder)
    spec = StudySpec.model_validate(
        {
            "name": "memory",
            "data": {"source": "digits", "image_size": 16},
            "space": {
                "family": ["alexnet", "resnet"],
                "filters": {"low": 8, "high": 96, "step": 4},
                "layers": {"low": 1, "high": 3},
                "kernel_size": [3, 5],
                "units1": {"low": 32, "high": 512, "step": 16},
                "units2": {"low": 32, "high": 256, "step": 16},
                "batch_size": [32, 48, 64, 96, 128],
            },
            "search": {"trials": count, "epochs": 1, "sampler": "random"},
        }
    )
    held: list[int] = []
    watch = MemoryWatch()
    for config in sampled(spec, data.fingerprint, "bf16", count)[first:]:
        assert isinstance(config.data, DataReference)
        for _ in train(config, data, torch.device("cpu")):
            pass
        grown = watch.has_grown()
        held.append(memory_bytes())
        if grown:
            break
    tell.put(held)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--architectures", type=int, default=200)
    asked = parser.parse_args()
    tell = SPAWN.Queue()
    held: list[int] = []
    processes = 0
    while len(held) < asked.architectures:
        with child_environment(1):
            process = SPAWN.Process(target=work, args=(len(held), asked.architectures, tell))
            process.start()
        held += tell.get()
        process.join()
        processes += 1
    settled, last = held[SETTLED - 1], held[-1]
    print(
        json.dumps(
            {
                "architectures": len(held),
                "processes": processes,
                "first_mb": round(held[0] / 1e6),
                f"after_{SETTLED}_mb": round(settled / 1e6),
                "after_all_mb": round(last / 1e6),
                "most_mb": round(float(np.max(held)) / 1e6),
                "growth": round(last / settled, 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
