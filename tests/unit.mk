# unit.mk - the cmocka tests; each program prints its own summary, a failure stops the run.
.PHONY: check-unit
check-unit: $(UNIT_BIN)
	@tests/lib/run-unit $(UNIT_BIN)
