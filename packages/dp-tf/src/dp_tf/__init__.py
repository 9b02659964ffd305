"""TensorFlow backend of dp."""

import os

# Read when TensorFlow is loaded: no remarks about the processor, graphics libraries that are not there, and rounding.
for _name, _value in (
    ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ("TF_ENABLE_ONEDNN_OPTS", "0"),
    ("GRPC_VERBOSITY", "ERROR"),
    ("ABSL_MIN_LOG_LEVEL", "3"),
):
    os.environ.setdefault(_name, _value)
