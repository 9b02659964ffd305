"""``python -m dp_cli``."""

from dp_cli.main import script

script()
