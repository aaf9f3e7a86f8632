"""A progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Bar:
    """A progress bar for each stage, on a terminal only."""

    def __enter__(self) -> Callable[[str, float, str], None]:
        self._bar: Any = None
        self._doing = ""
        return self._show

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, doing: str, share: float, where: str) -> None:
        from tqdm import tqdm

        if doing != self._doing:
            self.__exit__()
            self._bar = tqdm(
                total=100,
                desc=doing,
                disable=None,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}",
            )
            self._doing = doing
        self._bar.set_postfix_str(where, refresh=False)
        self._bar.update(share * 100 - self._bar.n)
