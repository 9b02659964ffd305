"""Repeatable measurements of dp, alone and beside DeePMD-kit: ``python -m benchmarks``."""
