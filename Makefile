# Two commands for everyone: `make demo` and `make test`. Each brings what it needs into this folder.
PYTHON ?= python3
HATCH = HATCH_DATA_DIR=$(CURDIR)/.hatch $(CURDIR)/.venv/bin/hatch

.PHONY: demo test lint clean

demo: .venv/bin/hatch  ## train, freeze, test and run a potential; writes demo-output/report.html
	$(HATCH) run demo

test: .venv/bin/hatch  ## lint, then the tests on every backend
	$(HATCH) run lint:check
	$(HATCH) test -a

lint: .venv/bin/hatch
	$(HATCH) run lint:check

# --without-pip: Debian's python3 has no ensurepip, but its pip can install into another environment.
.venv/bin/hatch:
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv/bin/python install --quiet 'hatch>=1.16,<2'

clean:
	rm -rf .venv .hatch demo-output
