"""Pruned models as files, read back and compared before they appear."""
