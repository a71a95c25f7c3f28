# All that a newcomer needs: make demo, make test. Needs GNU make 4 and Python 3.11 or newer; no root, no Docker, no cloud.
# The environments .venv and .eb are made when they are missing, and .venv again when pyproject.toml changed.

# Tried in this order; name one yourself with make PYTHON=/path/to/python3
PYTHON ?= python3.13 python3.12 python3.11 python3
# Words for pytest, the demo or the bench, as in make test ARGS='tests/aws -k sigv4'
ARGS ?=
# Processes that run tests at once
WORKERS ?= 4
# Where pure tests are: to import all others takes longer than to run these
PURE = $(shell grep -rlF mark.pure tests --include='*.py')
# What runs on PostgreSQL, too: what stores, what carries out operations, and the loop of kills
ON_POSTGRESQL = tests/store tests/operations tests/e2e/test_crashes.py tests/e2e/test_on_postgresql.py
# The version of the EB CLI that the tests drive
AWSEBCLI := 3.27.5

# Without bytecode each of the thousands of processes that tests start compiles anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

VENV_READY := .venv/.ready
EB_READY := .eb/.ready-$(AWSEBCLI)
# Twice quiet: only errors. pip warns about settings of the machine that are none of our business.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# pytest's exit status 5 means that nothing was selected: no failure when ARGS did the selecting.
NOTHING_SELECTED := $(if $(ARGS),5,0)

.PHONY: help demo test test-long test-simulated test-deep test-postgresql test-hosts test-hosts-long reliability
.PHONY: check bench bench-hosts clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    the whole story on this machine; at the end it stays up until Ctrl-C (ONCE=1: it exits)'
	@echo 'make test    all tests, the quick ones first (ARGS="tests/aws -k sigv4" selects, WORKERS=2 runs fewer at once)'
	@echo 'make test-long   further tests of the same kind, for which not every run has the time'
	@echo 'make test-postgresql  the tests of the store and of operations, and the loop of kills, on a PostgreSQL of their own'
	@echo 'make test-simulated  ten thousand random deployments with faults to simulated fleets, on all cores'
	@echo 'make test-deep  deaths in replacements everywhere, ends of deployments (half an hour)'
	@echo 'make test-hosts  the tests on real Debian servers (root; Debian or Ubuntu; installs what it lacks with apt-get)'
	@echo 'make test-hosts-long  further tests there: faults, adoption, an edge on a server, firewalls, memory'
	@echo 'make reliability  all policies and all that can become of a deployment, every fault at every step, here and on five such'
	@echo '             servers; writes docs/reliability.md (two hours; ARGS="local:*" is what needs no servers)'
	@echo 'make check   ruff, mypy and the import rules'
	@echo 'make bench   measures this machine and prints the figures'
	@echo 'make bench-hosts  the same for five real Debian servers, beside the goals (needs what test-hosts needs)'
	@echo 'make clean   removes everything that make made here, environments too'

demo: $(VENV_READY)
	@.venv/bin/python tools/demo.py $(if $(filter-out 0 no,$(ONCE)),--once) $(ARGS)

test: $(VENV_READY) $(EB_READY)
	@echo 'test: pure'
	@.venv/bin/python -m pytest -q -m pure -n 2 --ignore tests/e2e --ignore tests/hosts $(if $(filter tests%,$(ARGS)),,$(PURE)) $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]
	@echo 'test: with real parts'
	@.venv/bin/python -m pytest -q -m 'not pure and not hosts and not long and not postgresql' -n $(WORKERS) --dist loadgroup $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]

test-long: $(VENV_READY) $(EB_READY)
	@echo 'test-long: pure, with more examples'
	@HYPOTHESIS_PROFILE=thorough .venv/bin/python -m pytest -q -m pure -n 2 --ignore tests/e2e --ignore tests/hosts $(if $(filter tests%,$(ARGS)),,$(PURE)) $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]
	@echo 'test-long: with real parts'
	@.venv/bin/python -m pytest -q -m 'long and not hosts and not deep and not postgresql' -n $(WORKERS) --dist loadgroup $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]

test-simulated: $(VENV_READY)
	@.venv/bin/python -m beanpole.simulation --deployments 10000 $(ARGS)

test-deep: $(VENV_READY)
	@.venv/bin/python -m pytest -q -m 'deep' -n $(WORKERS) --dist loadgroup $(ARGS)

test-postgresql: $(VENV_READY)
	@.venv/bin/python tests/e2e/cluster.py || { echo 'make: test-postgresql cannot run here, for the reason above' >&2; exit 1; }
	@BEANPOLE_TEST_DATABASE=postgresql .venv/bin/python -m pytest -q -m 'not pure' -n $(WORKERS) --dist loadgroup $(if $(filter tests%,$(ARGS)),,$(ON_POSTGRESQL)) $(ARGS)

test-hosts: $(VENV_READY)
	@tests/testbed/hosts check || { echo 'make: test-hosts cannot run here, for the reasons above' >&2; exit 1; }
	@.venv/bin/python -m pytest -q -m 'hosts and not long' tests/hosts $(ARGS)

test-hosts-long: $(VENV_READY)
	@tests/testbed/hosts check || { echo 'make: test-hosts-long cannot run here, for the reasons above' >&2; exit 1; }
	@.venv/bin/python -m pytest -q -m 'hosts and long' tests/hosts $(ARGS)

reliability: $(VENV_READY)
	@PYTHONPATH=tests/e2e:tools .venv/bin/python tests/hosts/reliability.py $(ARGS)

check: $(VENV_READY)
	@echo 'check: ruff'
	@.venv/bin/ruff check
	@echo 'check: mypy'
	@.venv/bin/mypy
	@echo 'check: import rules'
	@.venv/bin/lint-imports --no-logo

bench: $(VENV_READY)
	@.venv/bin/python tools/bench.py $(ARGS)

bench-hosts: $(VENV_READY)
	@.venv/bin/python tools/bench_hosts.py $(ARGS)

clean:
	@rm -rf .venv .eb build dist src/*.egg-info
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests tools examples -type d -name __pycache__ -prune -exec rm -rf {} +

$(VENV_READY): pyproject.toml
	$(call make_environment,.venv)
	@echo 'Installing beanpole and its development tools into .venv (the first time this takes a minute)'
	@.venv/bin/python $(PIP_INSTALL) --editable '.[dev]'
	@.venv/bin/python -m compileall -q -j 0 src tools
	@touch $@

$(EB_READY):
	$(call make_environment,.eb)
	@echo 'Installing the EB CLI $(AWSEBCLI) into .eb, apart because it pins old versions of what we use'
	@.eb/bin/python $(PIP_INSTALL) 'awsebcli==$(AWSEBCLI)'
	@touch $@

# Makes the virtual environment $(1) with the first Python that can, or says what is missing. One that works is kept.
# Each candidate is run: a name on the PATH may be the shim of a version manager that has no such version.
define make_environment
@set -e; \
if $(1)/bin/python -c '$(NEW_ENOUGH)' 2>/dev/null && $(1)/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
bare=; \
for python in $(PYTHON); do \
  "$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 || continue; \
  if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then bare=$${bare:-$$python}; continue; fi; \
  echo "Making $(1) with $$("$$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
  "$$python" -m venv --clear $(1); \
  exit 0; \
done; \
if [ -n "$$bare" ]; then \
  package=$$("$$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
  echo "make: $$bare cannot make a virtual environment: its module ensurepip is missing." >&2; \
  echo "Remedy: on Debian and Ubuntu 'sudo apt install $$package', then repeat; or make PYTHON=/path/to/another/python3" >&2; \
else \
  echo "make: Python 3.11 or newer is needed; tried without success: $(PYTHON)" >&2; \
  echo "Remedy: install it (Debian 12, Ubuntu 24.04: 'sudo apt install python3 python3-venv'), then repeat; or make PYTHON=/path/to/python3" >&2; \
fi; \
exit 1
endef
