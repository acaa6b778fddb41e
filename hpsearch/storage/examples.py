"""Which examples lie in the parts of data, as the ledger keeps them: 8 bytes each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import examples, reading


@dataclass(frozen=True)
class Examples:
    """Keeps sets of examples, each under a digest of itself."""

    engine: Engine
    retry: Retry

    @retried
    def keep(self, hashes: NDArray[np.uint64]) -> str:
        """Keep the hashes `(N,)` of a part's examples; return their digest. Twice is once."""
        content = np.sort(hashes).astype("<u8").tobytes()
        digest = hashlib.sha256(content).hexdigest()
        with reading(self.engine) as connection:
            known = select(examples.c.digest).where(examples.c.digest == digest)
            if connection.execute(known).first() is not None:
                return digest
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(examples).values(digest=digest, hashes=content))
        except IntegrityError:  # another process was first, with the same
            pass
        return digest

    @retried
    def of(self, digest: str) -> NDArray[np.uint64]:
        """Return the hashes `(N,)` kept under a digest, sorted; KeyError where there are none."""
        with reading(self.engine) as connection:
            query = select(examples.c.hashes).where(examples.c.digest == digest)
            content = connection.execute(query).scalar()
        if content is None:
            raise KeyError(digest)
        return np.frombuffer(content, "<u8").astype(np.uint64)
