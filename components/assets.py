"""Where the files that come with the project are."""

from wanda_core.assets import ASSETS

__all__ = ["ASSETS"]
