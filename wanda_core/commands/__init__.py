"""The commands of `python -m wanda_core`, a module for each: its arguments and what it does."""
