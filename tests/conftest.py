from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Measurements are kept for the tests of one process, and leave the user's alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHBREW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
