"""The backend under test; what the tests of all backends share is in ``conftest.py`` of the workspace."""

from importlib.util import find_spec

import pytest

from dp_core.backend import Backend, get_backend

# where only other backends are installed, there is nothing to test
collect_ignore_glob = [] if find_spec("dp_jax") else ["test_*.py"]


@pytest.fixture
def jax_backend() -> Backend:
    return get_backend("jax")
