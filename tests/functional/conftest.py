"""What the functional tests share."""

import pytest

from tests.functional.training import make_data


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """One small data set with its features and its pixel cache, for all tests of training in this process."""
    pytest.importorskip("torch")
    return make_data(tmp_path_factory.mktemp("training"))
