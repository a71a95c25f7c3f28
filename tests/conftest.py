"""For all tests: HYPOTHESIS_PROFILE=thorough draws more examples. None has a deadline: machines may be busy."""

import os

from hypothesis import settings

settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
