"""Seeds of tests under random faults: the first in `make test`, as many as BATCHGEN_TEST_SEEDS says in `make money`.

Mark such a test with `@pytest.mark.random_faults`, by which `make money` finds it.
"""

import os

SEEDS = range(int(os.environ.get("BATCHGEN_TEST_SEEDS") or 1))
