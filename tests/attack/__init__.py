"""Hostile clients, hostile files and faults: each is answered by one sentence, nothing complete-looking is left, and
the next ordinary run works.

A test says with `tried(kind, number)` what it tried; a table of all of it stands at the end of pytest's output.
"""
