"""PyTorch backend of dp."""
