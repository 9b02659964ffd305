"""Statistics of the data that a model starts from: normalisation, bias, neighbours; and the file that keeps them."""

from dp_core.statistics.bias import BiasChange, assign_bias, bias_labels, change_bias
from dp_core.statistics.environment import environment_sums, with_environment
from dp_core.statistics.least_squares import BiasFit, BiasSums
from dp_core.statistics.model import compute_statistics, statistics_labels
from dp_core.statistics.neighbors import NeighborStatistics, auto_sel, counted_sel, neighbor_statistics
from dp_core.statistics.sample import Progress, Sample, sample_frames, whole
from dp_core.statistics.stat_file import StatFile

__all__ = [
    "BiasChange",
    "BiasFit",
    "BiasSums",
    "NeighborStatistics",
    "Progress",
    "Sample",
    "StatFile",
    "assign_bias",
    "auto_sel",
    "bias_labels",
    "change_bias",
    "compute_statistics",
    "counted_sel",
    "environment_sums",
    "neighbor_statistics",
    "sample_frames",
    "statistics_labels",
    "whole",
    "with_environment",
]
