"""The page: one module for each thing on it."""
