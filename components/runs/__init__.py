"""Runs: what this browser has measured."""
