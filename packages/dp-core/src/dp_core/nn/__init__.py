"""Networks: layers, embedding and fitting networks, collections by type."""

from dp_core.nn.activation import activation
from dp_core.nn.networks import EmbeddingNet, FittingNet, Layer, NetworkCollection
from dp_core.nn.precision import canonical

__all__ = ["EmbeddingNet", "FittingNet", "Layer", "NetworkCollection", "activation", "canonical"]
