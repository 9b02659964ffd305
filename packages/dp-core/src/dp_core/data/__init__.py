"""Data sets on disk: systems, frames, batches, checks."""

from dp_core.data.check import DataReport, Finding, SystemReport, check_data
from dp_core.data.frame import COMMON_LABELS, Frame, Label
from dp_core.data.open import collect_type_map, open_systems
from dp_core.data.sampling import Sampler, SystemRow
from dp_core.data.system import System
from dp_core.data.validate import validate_frame
from dp_core.data.write import convert_to_npy, write_npy_system

__all__ = [
    "COMMON_LABELS",
    "DataReport",
    "Finding",
    "Frame",
    "Label",
    "Sampler",
    "System",
    "SystemReport",
    "SystemRow",
    "check_data",
    "collect_type_map",
    "convert_to_npy",
    "open_systems",
    "validate_frame",
    "write_npy_system",
]
