"""Where things are unless the user says otherwise, below the folder a command is started in."""

DEFAULT_RUNS = "runs"
DEFAULT_STORAGE = f"sqlite:///{DEFAULT_RUNS}/hpsearch.db"
CHECKPOINTS = "checkpoints"  # below the folder of runs
