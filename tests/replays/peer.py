"""What the scripts of all peers share: arguments in, a line of JSON for each seed out.

python SCRIPT TABLE TOOL FROM TO WORKERS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from replays.counting import Tool, spent_by
from replays.table import Table, read


def answer(tools: Mapping[str, Callable[[Table, int], Tool]]) -> None:
    """Print `[epochs, seconds]` for every seed from FROM to before TO."""
    path, tool, first, last, workers = sys.argv[1:]
    table = read(Path(path))
    for seed in range(int(first), int(last)):
        spent = spent_by(tools[tool](table, seed), table, int(workers))
        print(json.dumps([spent.epochs, spent.seconds]), flush=True)
