"""PyTorch backend of dp."""

import os

# How idle threads wait; read when PyTorch is loaded. The operations of a step are short and many: a thread that sleeps
# at once is woken too late for the next one, a thread that spins long takes a processor from whatever else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
