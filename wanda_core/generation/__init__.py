"""Texts written side by side by the dense model and its prunings."""
