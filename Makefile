# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Needs Python 3.10 or later with venv, and a package index that pip can reach. Everything is made in .venv and .build.
# Recipes use relative paths, so a space in the name of this folder does no harm.

PYTHON ?= python3
# Twice as many as processors: most tests mostly wait.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? 2 * n : 16)))
# Each keeps a processor busy.
BROWSERS = $$(($(JOBS) > 1 ? $(JOBS) / 2 : 1))
PYTEST_ARGS ?=
ENDINGS ?= 200
FLEET_RUNS ?= 24
SEED ?= $(shell date +%s)
NOX_ARGS ?=
BENCH ?=
IDLE ?= 60
PAGE ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

INSTALLED := .build/collections/ansible_collections/flashcat/flashduty

# The settings of the person who runs make must not decide what the tests see, nor how long pytest takes to read them.
unexport ANSIBLE_CALLBACKS_ENABLED ANSIBLE_STDOUT_CALLBACK ANSIBLE_INVENTORY ANSIBLE_VAULT_PASSWORD_FILE
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build/collections
export ANSIBLE_CONFIG := $(CURDIR)/.build/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.build/ansible
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.build/cache/hypothesis
export LC_ALL := C.UTF-8
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Another Python, or a folder that was moved, needs another .venv.
IDENTITY = $$($(PYTHON) -c 'import sys; print(*sys.version_info[:3], sys.base_prefix)') $(CURDIR)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
PIP := .venv/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager

# A folder is newer than what was built from it when a file in it was added or removed.
SOURCES := galaxy.yml $(shell find meta plugins roles playbooks -name __pycache__ -prune -o \( -type d -o -type f \) -print 2>/dev/null)

.PHONY: help
help: ## show this text
	@printf 'Targets:\n'
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target text; do printf '  %-20s %s\n' "$$target" "$$text"; done
	@printf 'Settings: PYTHON=%s JOBS=%s PYTEST_ARGS="%s" NOX_ARGS="%s" ENDINGS=%s FLEET_RUNS=%s SEED=%s BENCH="%s" IDLE=%s PAGE=%s\n' \
		'$(PYTHON)' '$(JOBS)' '$(PYTEST_ARGS)' '$(NOX_ARGS)' '$(ENDINGS)' '$(FLEET_RUNS)' '$(SEED)' '$(BENCH)' '$(IDLE)' '$(PAGE)'

.PHONY: demo
demo: .venv/.run install-collection ## report real playbook runs to a receiver on this machine and show what it holds
	@echo '==> running the example playbooks'
	@$(RUN) python examples/demo.py

.PHONY: demo-keep
demo-keep: .venv/.run install-collection ## the demo, with its page left open in the receiver until Ctrl-C
	@echo '==> running the example playbooks'
	@$(RUN) python examples/demo.py --keep

.PHONY: test
test: .venv/.test install-collection ## run the unit and end-to-end tests against the installed collection
	@echo '==> testing ($(JOBS) processes)'
	@$(RUN) python -m pytest -n $(JOBS) --dist worksteal -m 'not slow' $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: .venv/.test install-collection ## run the tests that take long, and those of what few machines meet: many processes, odd input, bad disks, another key
	@echo '==> testing what takes long ($(JOBS) processes)'
	@$(RUN) python -m pytest -n $(JOBS) --dist worksteal -m slow $(PYTEST_ARGS)

.PHONY: test-browser
test-browser: .venv/.browser .build/npm/.installed install-collection chromium ## run the tests of the sandbox's page in the Chromium of this machine
	@echo "==> testing in Chromium ($(BROWSERS) processes)"
	@$(RUN) python -m pytest -n $(BROWSERS) $(PYTEST_ARGS) tests/browser

.PHONY: picture
picture: .venv/.browser install-collection chromium ## take the READMEs' pictures of the page, from a run of the demo
	@echo '==> running the demo and taking the pictures'
	@$(RUN) python tests/browser/support/picture.py docs/images

.build/npm/.installed: tests/browser/package.json tests/browser/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: install it (Debian: apt-get install npm)' >&2; exit 1; }
	@echo '==> installing axe-core in .build/npm'
	@rm -rf .build/npm
	@mkdir -p .build/npm
	@cp tests/browser/package.json tests/browser/package-lock.json .build/npm
	@npm ci --prefix .build/npm --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# Root in a container gets it, and a font for the Chinese pictures; on a machine of one's own, a person decides.
.PHONY: chromium
chromium:
	@wanted=; PYTHONPATH=tests/browser/support .venv/bin/python -c 'import chromium; chromium.find()' 2>/dev/null || wanted=chromium; \
	fc-list :lang=zh 2>/dev/null | grep -q . || wanted="$$wanted fonts-wqy-zenhei"; \
	if [ -n "$$wanted" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "==> installing $$wanted"; apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$wanted >/dev/null; \
	elif [[ "$$wanted" = chromium* ]]; then \
		echo 'Chromium is missing: install it (Debian: apt-get install chromium), or set CHROMIUM to its path' >&2; exit 1; fi

.PHONY: test-endings
test-endings: .venv/.test install-collection ## end ENDINGS runs in every way, at random moments that SEED decides
	@echo '==> ending $(ENDINGS) runs, SEED=$(SEED)'
	@$(RUN) ENDINGS=$(ENDINGS) SEED=$(SEED) python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS) \
		tests/end_to_end/test_endings.py

.PHONY: test-fleet
test-fleet: .venv/.fleet install-collection postgresql podman ## kill FLEET_RUNS runs, couriers and PostgreSQL on twenty control nodes with a shared outbox
	@echo '==> testing a fleet with PostgreSQL ($(FLEET_RUNS) runs, SEED=$(SEED))'
	@$(RUN) FLEET_RUNS=$(FLEET_RUNS) SEED=$(SEED) python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS) tests/fleet

# As for Chromium: root in a container gets it.
.PHONY: postgresql
postgresql: .venv/.fleet
	@if PYTHONPATH=tests/fleet/support .venv/bin/python -c 'import postgresql; postgresql.find()' 2>/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo '==> installing postgresql'; apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null; \
	else echo 'PostgreSQL is missing: install it (Debian: apt-get install postgresql)' >&2; exit 1; fi

# With runc, which also starts containers within a container. Without them, the tests in containers are skipped.
.PHONY: podman
podman:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v podman && command -v runc; } >/dev/null; then \
		echo '==> installing podman and runc'; apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends podman runc >/dev/null; fi

.PHONY: test-all
test-all: .venv/.matrix install-collection ## run on every supported ansible-core the tests it can matter to, on its other Pythons those of module and callback
	@echo '==> testing on every supported ansible-core'
	@$(RUN) JOBS=$(JOBS) nox $(NOX_ARGS)

.PHONY: judge
judge: .venv/.matrix build install-collection ## ansible-test sanity, galaxy-importer, the docs site, the execution environment
	@echo '==> asking the judges of the ecosystem'
	@$(RUN) nox -t judge $(NOX_ARGS)

.PHONY: sanity
sanity: .venv/.matrix ## ansible-test sanity on every supported ansible-core, of which make judge takes the oldest and the newest
	@$(RUN) nox -t sanity $(NOX_ARGS)

.PHONY: image
image: .venv/.matrix build ## build an execution environment, and report a run from it (as root, with podman, runc and debootstrap)
	@$(RUN) nox -s image $(NOX_ARGS)

.PHONY: docs
docs: .venv/.matrix ## build the documentation as a site, in both languages, in .build/docs/html
	@$(RUN) nox -s docs $(NOX_ARGS)

VERSION = $$(sed -n 's/^version: //p' galaxy.yml)

.PHONY: changelog
changelog: .venv/.lint ## turn the fragments into CHANGELOG.md, for the version that galaxy.yml names
	@$(RUN) antsibull-changelog release --version "$(VERSION)"

# Changes nothing. What is left after it needs the outside world: the tag, and Galaxy.
.PHONY: release-check
release-check: lint judge ## check that version, changelog and artifact of a release agree, and ask every judge
	@echo "==> checking the release $(VERSION)"
	@grep -q "^  $(VERSION):" changelogs/changelog.yaml || { echo "the changelog does not know $(VERSION): run make changelog" >&2; exit 1; }
	@! ls changelogs/fragments/*.y*ml 2>/dev/null || { echo 'these fragments are in no release: run make changelog' >&2; exit 1; }
	@test -f ".build/dist/flashcat-flashduty-$(VERSION).tar.gz"
	@echo "    .build/dist/flashcat-flashduty-$(VERSION).tar.gz is ready"

# On a machine that does nothing else: the figures are those of everything that runs on it.
.PHONY: bench
bench: .venv/.bench install-collection ## measure beside other reporters, in half an hour (BENCH="start tasks": only these)
	@.venv/bench/bin/python tests/benchmarks/bench.py --idle $(IDLE) $(if $(PAGE),--page $(PAGE)) $(BENCH)

.PHONY: bench-smoke
bench-smoke: .venv/.bench install-collection ## run every benchmark in its smallest size: shows that it runs, no more
	@.venv/bench/bin/python tests/benchmarks/bench.py --smoke --json .build/bench-smoke

LINTERS := ruff mypy imports yamllint ansible-lint changelog reuse

.PHONY: lint $(LINTERS:%=lint-%)
lint: $(LINTERS:%=lint-%) ## run every linter (make -k lint: also after one that fails)

lint-ruff: .venv/.lint
	@echo '==> ruff'
	@$(RUN) ruff check --quiet --output-format concise .
	@$(RUN) ruff format --quiet --check .

# The installed files are what the tests import; the paths in the messages are those of the sources.
lint-mypy: .venv/.lint install-collection
	@echo '==> mypy --strict'
	@$(RUN) mypy --no-error-summary $(INSTALLED)/plugins $(INSTALLED)/playbooks tests examples docs/site/build.py noxfile.py | sed 's#^$(INSTALLED)/##'

# Which way imports run between the folders; the rules lie in pyproject.toml.
lint-imports: .venv/.lint install-collection
	@echo '==> import-linter'
	@PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" $(RUN) lint-imports --no-cache --no-logo >.build/imports.log || { cat .build/imports.log; exit 1; }

lint-yamllint: .venv/.lint
	@echo '==> yamllint'
	@$(RUN) yamllint --strict .

lint-ansible-lint: .venv/.lint install-collection
	@echo '==> ansible-lint'
	@$(RUN) ansible-lint --offline -q

lint-changelog: .venv/.lint
	@echo '==> antsibull-changelog'
	@$(RUN) antsibull-changelog lint

lint-reuse: .venv/.lint
	@if git rev-parse --git-dir >/dev/null 2>&1; then echo '==> reuse'; $(RUN) reuse lint --lines; \
	else echo '==> reuse: skipped, it needs a git clone to know which files are ours'; fi

.PHONY: build
build: .venv/.run .build/ansible.cfg ## build the artifact that Galaxy takes, in .build/dist
	@echo '==> building the collection'
	@rm -rf .build/dist
	@mkdir -p .build/dist
	@$(RUN) ansible-galaxy collection build --force --output-path .build/dist | sed 's/^/    /'

.PHONY: install-collection
install-collection: .build/.installed ## install the built artifact in .build/collections, if anything changed

# What is left after the installation must be enough: nothing but these may be needed at run time. Only a change of the
# sources may take it away from what runs beside.
.build/.installed: $(SOURCES) | .venv/.run .build/ansible.cfg
	@echo '==> building and installing the collection in .build/collections'
	@rm -rf .build/artifact .build/collections
	@$(RUN) ansible-galaxy collection build --force --output-path .build/artifact >.build/install.log || { cat .build/install.log; exit 1; }
	@$(RUN) ansible-galaxy collection install --offline --no-deps --force --collections-path .build/collections .build/artifact/*.tar.gz \
		>>.build/install.log || { cat .build/install.log; exit 1; }
	@find $(INSTALLED) -mindepth 1 -maxdepth 1 ! -name meta ! -name plugins ! -name roles ! -name playbooks \
		! -name MANIFEST.json ! -name FILES.json -exec rm -rf {} +
	@touch $@

.build/ansible.cfg:
	@mkdir -p .build
	@echo '# empty: the configuration of the person who runs make does not count here' >$@

.PHONY: install-dev
install-dev: .venv/.lint install-collection ## set up what test and lint need

# Before targets run side by side: pip must not change an environment that another one uses.
.PHONY: environments
environments: .venv/.made ## set up what all targets need
	@$(MAKE) .venv/.bench & beside=$$!; $(MAKE) install-dev .venv/.browser .venv/.fleet; wait "$$beside"

.PHONY: FORCE
FORCE:

.venv/.made: FORCE
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.10 or later, or run make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than 3.10: run make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "venv is missing for $(PYTHON): on Debian, apt-get install python3-venv" >&2; exit 1; }
	@if [ "$$(cat $@ 2>/dev/null)" != "$(IDENTITY)" ]; then \
		echo "==> making .venv with $$($(PYTHON) --version)"; rm -rf .venv; $(PYTHON) -m venv .venv; echo "$(IDENTITY)" >$@; fi

.venv/.run: .venv/.made requirements.txt tests/requirements/run.txt
	@echo '==> installing ansible-core and requests in .venv'
	@$(PIP) -r tests/requirements/run.txt
	@touch $@

.venv/.test: .venv/.run tests/requirements/test.txt
	@echo '==> installing pytest and hypothesis in .venv'
	@$(PIP) -r tests/requirements/test.txt
	@touch $@

.venv/.matrix: .venv/.run tests/requirements/matrix.txt
	@echo '==> installing nox in .venv'
	@$(PIP) -r tests/requirements/matrix.txt
	@touch $@

# The package ansible holds a copy of ansible_collections that would hide what is installed beside it.
.venv/.bench: .venv/.made requirements.txt tests/requirements/run.txt tests/requirements/bench.txt
	@echo '==> installing ansible and the reporters to compare with in .venv/bench'
	@$(PYTHON) -m venv .venv/bench
	@.venv/bench/bin/python -m pip install --quiet --upgrade -r tests/requirements/bench.txt
	@touch $@

.venv/.browser: .venv/.test tests/requirements/browser.txt
	@echo '==> installing playwright in .venv'
	@$(PIP) -r tests/requirements/browser.txt
	@touch $@

.venv/.fleet: .venv/.test tests/requirements/fleet.txt
	@echo '==> installing psycopg in .venv'
	@$(PIP) -r tests/requirements/fleet.txt
	@touch $@

.venv/.lint: .venv/.test .venv/.matrix tests/requirements/lint.txt
	@echo '==> installing the linters in .venv'
	@$(PIP) -r tests/requirements/lint.txt
	@touch $@

.PHONY: clean
clean: ## remove what was built and every cache
	@rm -rf .build .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output
	@find . -name .git -prune -o -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## clean, and remove the environments in .venv and .nox
	@rm -rf .nox .venv
