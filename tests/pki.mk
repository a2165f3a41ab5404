# pki.mk - etcd-pki as its users run it: its commands, kubeadm's set compared and used, live members.
# What needs a real etcd is in check-interop.
# How often each sentence of probe is asked for: make check-pki check-interop PROBES=100
PROBES ?= 25
.PHONY: check-pki check-pki-cluster
check-pki: $(PROGRAMS:%=$(BIN)/%)
	ETCD_PKI=$(abspath $(BIN)/etcd-pki) bats tests/cli/pki.bats tests/cli/pki_life.bats tests/cli/pki_passphrase.bats
	tests/cli/pki/verify_cases.py $(BIN)/etcd-pki
	tests/cli/pki/bad_input.py $(BIN)/etcd-pki
	tests/cli/pki/table_test.sh $(BIN)/etcd-pki man/etcd-pki.1
	tests/cli/pki_test.sh $(BIN)/etcd-pki $(BIN)/etcd-server $(BIN)/etcd-ctl
	tests/cli/pki_live_test.sh $(BIN)/etcd-pki $(BIN)/etcd-server $(PROBES)

# Three members with mutual TLS: who is refused and why, files replaced in a loop, the CA replaced under load.
check-pki-cluster: $(PROGRAMS:%=$(BIN)/%)
	tests/e2e/pki_cluster_test $(BIN)
