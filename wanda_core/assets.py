"""Where the files that come with the project are: in a checkout, and where `pip install` puts them."""

from __future__ import annotations

from pathlib import Path

_TOP = Path(__file__).parents[1]
ASSETS = next(folder for folder in (_TOP / "wanda_lab_assets", _TOP / "assets") if folder.is_dir())
