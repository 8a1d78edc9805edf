"""How hard Hypothesis looks, and the seed with which a run can be repeated.

`HYPOTHESIS_PROFILE` is `dev` (the default), `ci` or `nightly`. All tests of a run start from one seed, which its header
shows; `--hypothesis-seed` repeats it.
"""

import os
import secrets

import pytest
from hypothesis import HealthCheck, settings

SEED_VARIABLE = "VERSIONING_TEST_SEED"
"""How the workers of pytest-xdist, which are processes of their own, get the seed of the run."""

for name, max_examples in {"dev": 50, "ci": 200, "nightly": 2000}.items():
    settings.register_profile(
        name,
        # Left out, the parent is what Hypothesis itself chose for this machine: where CI is set, nothing random.
        settings.get_profile("default"),
        max_examples=max_examples,
        deadline=None,  # machines are shared: time is measured elsewhere
        derandomize=False,
        print_blob=True,
        suppress_health_check=[] if name == "dev" else [HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.hookimpl(tryfirst=True)  # before Hypothesis's own plugin reads the option
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = os.environ.setdefault(SEED_VARIABLE, str(secrets.randbits(32)))


def pytest_report_header(config: pytest.Config) -> str:
    profile, seed = settings.get_current_profile_name(), config.option.hypothesis_seed
    return f"hypothesis seed: {seed}; to repeat: HYPOTHESIS_PROFILE={profile} python3 tests --hypothesis-seed={seed}"
