"""PyTorch backend of dp."""

import os

# Idle threads sleep instead of spinning: the steps between two parallel operations are short but many, and a spinning
# thread takes a processor from whatever else runs on the machine. Read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
