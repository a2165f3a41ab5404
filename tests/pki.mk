# pki.mk - etcd-pki as its users run it: its commands, and kubeadm's set compared and used.
# PKI_ETCD and PKI_ETCDCTL, when given, are a real etcd and etcdctl that run on the set.
.PHONY: check-pki
check-pki: $(BIN)/etcd-pki
	ETCD_PKI=$(abspath $(BIN)/etcd-pki) bats tests/cli/pki.bats tests/cli/pki_life.bats tests/cli/pki_passphrase.bats
	tests/cli/pki/verify_cases.py $(BIN)/etcd-pki
	tests/cli/pki_test.sh $(BIN)/etcd-pki
