# readme.mk - the tour of README.md runs as it is written (on free ports).
.PHONY: check-readme check-manual
check-readme: $(PROGRAMS:%=$(BIN)/%)
	@tests/readme_test $(BIN)
# --help and the manuals, flag by flag.
check-manual: $(PROGRAMS:%=$(BIN)/%)
	@tests/cli/manual_test $(BIN) man
