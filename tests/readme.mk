# readme.mk - the tour of README.md runs as it is written (on free ports).
.PHONY: check-readme
check-readme: $(PROGRAMS:%=$(BIN)/%)
	@tests/readme_test $(BIN)
