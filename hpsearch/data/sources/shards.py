"""WebDataset: tar files in which the files of one example follow each other under one name.

`000123.jpg` and `000123.cls` are an example, of the class that stands in the second; so are values
of `000123.json`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.published import COLUMN, role_of
from hpsearch.errors import DataError

LABELS = ("cls", "label", "cls.txt", "label.txt")
TEXTS = ("txt", "text", "caption")


def columns_of(shards: Sequence[Path]) -> Columns:
    """Return the columns of tar files: bytes in `path`, `label`, the keys of JSON, and the part.

    Raises DataError where a file is damaged, or text in it is no UTF-8.
    """
    found: dict[str, dict[str, Any]] = {}
    for shard in shards:
        try:
            with tarfile.open(shard) as tar:
                for member in tar:
                    if member.isfile() and not Path(member.name).name.startswith("."):
                        _note(found, shard, member, tar)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{shard}: is not a whole tar file: {error}") from None
        except (ValueError, RecursionError) as error:  # of text that is no UTF-8, too
            raise DataError(f"{shard}: {member.name} cannot be read: {error}") from None
    _one_input(found)
    names = sorted({name for example in found.values() for name in example})
    values = {}
    for name in names:
        values[name] = np.empty(len(found), object)
        values[name][:] = [example.get(name, "") for example in found.values()]
    place = str(shards[0] if len(shards) == 1 else shards[0].parent)
    return Columns(place, "column", list(found), values)


def _note(
    found: dict[str, dict[str, Any]], shard: Path, member: tarfile.TarInfo, tar: tarfile.TarFile
) -> None:
    file = tar.extractfile(member)
    assert file is not None, "it is a file"
    name = Path(member.name)
    key, _, ending = name.name.partition(".")
    example = found.setdefault(f"{shard.name}/{(name.parent / key).as_posix()}", {})
    if role_of(shard.stem) is not None:
        example[COLUMN] = shard.stem.rstrip("0123456789-_.")
    content, ending = file.read(), ending.lower()
    if ending in LABELS:
        example["label"] = content.decode().strip()
    elif ending in TEXTS:
        example["text"] = content.decode()
    elif ending == "json":
        stated = json.loads(content)
        every = stated.items() if isinstance(stated, dict) else ()
        example |= {k: str(v) for k, v in every if isinstance(v, str | int | float)}
    else:
        example[ending] = content


def _one_input(found: dict[str, dict[str, Any]]) -> None:
    """Name the one file that is no label or text of each example `path`.

    Where an example has several, as a picture and a mask, they keep the names of their endings, and
    the study says which is its input.
    """
    files = {key: [n for n in of if isinstance(of[n], bytes)] for key, of in found.items()}
    if any(len(names) > 1 for names in files.values()):
        return
    for key, names in files.items():
        if names:
            found[key]["path"] = found[key].pop(names[0])
