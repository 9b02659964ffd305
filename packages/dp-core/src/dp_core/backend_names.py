"""The names of backends: a module of its own, so that a command line may look them up before NumPy is imported."""

from __future__ import annotations

#: What users call a backend: its name, and the suffix of its frozen models if it is not the usual one.
NAMES: dict[str, tuple[str, str | None]] = {
    "torch": ("torch", None),
    "pytorch": ("torch", None),
    "pt": ("torch", None),
    "pytorch-exportable": ("torch", ".pt2"),
    "pt-expt": ("torch", ".pt2"),
    "jax": ("jax", None),
    "tensorflow": ("tensorflow", None),
    "tf": ("tensorflow", None),
    "tensorflow2": ("tensorflow", ".savedmodeltf"),
    "tf2": ("tensorflow", ".savedmodeltf"),
    "numpy": ("numpy", None),
    "np": ("numpy", None),
    "dp": ("numpy", None),
    "dpmodel": ("numpy", None),
}
