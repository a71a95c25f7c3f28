"""`python -m beanpole.cli`: the command where it is not on PATH, such as for a detached control plane."""

from beanpole.cli import main

main()
