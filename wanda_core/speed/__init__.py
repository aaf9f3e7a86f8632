"""Packed weights, and how fast they are on this machine."""
