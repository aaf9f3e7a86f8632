"""Comparisons of many prunings under one protocol, as rows of one table."""
