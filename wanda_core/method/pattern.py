"""Where zeros may fall: anywhere, or N of every M."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wanda_core.errors import Refused


@dataclass(frozen=True)
class Pattern:
    """Where zeros may fall: anywhere (`unstructured`), or N:M, exactly `keep` among every `among` inputs."""

    keep: int = 0
    among: int = 0

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """`"unstructured"` or `"N:M"`.

        Raises:
            Refused: anything else, or not 0 < N < M <= 64.
        """
        if text == "unstructured":
            return cls()
        found = re.fullmatch(r"(\d{1,2}):(\d{1,2})", text) if isinstance(text, str) else None
        if not found or not 0 < int(found[1]) < int(found[2]) <= 64:
            raise Refused(
                "{pattern} must be `unstructured` or N:M with 0 < N < M <= 64, such as 2:4: "
                "N weights kept of every M"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def structured(self) -> bool:
        return self.among > 0

    @property
    def sparsity(self) -> float:
        """Share of weights that an N:M pattern removes."""
        return 1 - self.keep / self.among

    def __str__(self) -> str:
        return f"{self.keep}:{self.among}" if self.structured else "unstructured"
