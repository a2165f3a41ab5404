# flags.mk - settings of the server whose effect shows from outside only.
.PHONY: check-flags
check-flags: $(BIN)/etcd-server
	tests/e2e/flags_test $(BIN)/etcd-server
