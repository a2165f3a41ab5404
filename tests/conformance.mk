# conformance.mk - what a real etcd answered, asked of our programs: make check-gateway, make check-cli.
# FILTER=WORD runs only the cases whose names contain it.
.PHONY: check-gateway check-cli
check-gateway: $(BIN)/etcd-server
	BIN=$(BIN) tests/conformance/run gateway $(FILTER)
check-cli: $(PROGRAMS:%=$(BIN)/%)
	BIN=$(BIN) tests/conformance/run cli $(FILTER)
