# life.mk - clusters as real processes: what becomes of damaged members.

# A member whose database was changed behind its back; with a real etcd (ETCD_BIN=...) also in mixed clusters.
.PHONY: check-corrupt
check-corrupt: $(BIN)/etcd-server
	tests/e2e/corrupt_test $(BIN) "$(if $(ETCD_BIN),$(ETCD_BIN)/etcd)"

# Members that find each other by a registry or DNS.
.PHONY: check-discovery
check-discovery: $(BIN)/etcd-server $(BIN)/etcd-ctl
	tests/e2e/discovery_test $(BIN) "$(if $(ETCD_BIN),$(ETCD_BIN)/etcd)"
