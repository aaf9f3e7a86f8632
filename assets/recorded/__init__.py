"""Results recorded by the jobs of the page, and what records them."""

import wanda_core  # noqa: F401 - before torch: it says how torch's threads wait
