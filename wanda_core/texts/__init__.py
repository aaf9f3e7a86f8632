"""Texts: read from files and data sets, and cut into windows of tokens."""
