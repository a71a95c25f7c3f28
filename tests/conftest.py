"""For all tests: what a machine is busy with says nothing about the code."""

from hypothesis import settings

settings.register_profile("beanpole", deadline=None)
settings.load_profile("beanpole")
