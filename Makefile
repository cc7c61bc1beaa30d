# Short names for `python3 -m flows.start`, which needs no make.
PYTHON ?= python3

.PHONY: demo test up stop
demo test up stop:
	$(PYTHON) -m flows.start $@
