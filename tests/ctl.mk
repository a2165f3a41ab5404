# ctl.mk - tests of etcd-ctl: its parsers as unit tests, its commands against a server with bats.
CTL_PARSERS_O := $(call obj,$(wildcard etcd-ctl/args*.c) etcd-ctl/txn_parse.c)
$(B)/tests/unit/ctl_args_test $(B)/tests/unit/ctl_txn_test: $(CTL_PARSERS_O)
$(B)/tests/unit/ctl_progress_test: $(call obj,etcd-ctl/progress.c)

# The server is ours unless ETCD_SERVER names another (a real etcd answers alike).
ETCD_SERVER ?= $(abspath $(BIN)/etcd-server)
.PHONY: check-ctl
check-ctl: $(BIN)/etcd-ctl $(BIN)/etcd-snap $(if $(filter $(abspath $(BIN)/etcd-server),$(ETCD_SERVER)),$(BIN)/etcd-server)
	ETCD_CTL=$(abspath $(BIN)/etcd-ctl) ETCD_SNAP=$(abspath $(BIN)/etcd-snap) ETCD_SERVER=$(ETCD_SERVER) bats tests/cli/ctl.bats tests/cli/ctl_hold.bats

# Servers that answer what no etcd answers, and a terminal that is left in the middle of a question.
.PHONY: check-ctl-odd
check-ctl-odd: $(BIN)/etcd-ctl
	tests/cli/odd_answers.py $(BIN)/etcd-ctl
	tests/cli/password_prompt.py $(BIN)/etcd-ctl

# The whole of check perf, which takes its 60 seconds.
LONG_CHECKS += check-ctl-perf
.PHONY: check-ctl-perf
check-ctl-perf: $(BIN)/etcd-ctl $(BIN)/etcd-server
	tests/cli/check_perf_test.sh $(BIN)
