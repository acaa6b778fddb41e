"""`python -m hpsearch`, the same as the command `hpsearch`."""

from hpsearch.cli.main import main

if __name__ == "__main__":
    main()
