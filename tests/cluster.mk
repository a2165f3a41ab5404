# cluster.mk - three members as real processes: leaders that go, bad links, and how fast they are.
#   make failover ROUNDS=50                fifty kills, disks that stop, power cuts
#   make bench-cluster ETCD_BIN=<folder>   with mTLS, beside a real etcd
.PHONY: check-failover failover
FAILOVER_SHIMS := $(addprefix $(B)/tests/e2e/,stalled_sync.so lost_writes.so)
check-failover: $(BIN)/etcd-server $(BIN)/etcd-pki $(FAILOVER_SHIMS)
	tests/e2e/failover_test $(BIN)/etcd-server 2 $(if $(SAN),,$(FAILOVER_SHIMS))
failover: $(BIN)/etcd-server $(BIN)/etcd-pki $(FAILOVER_SHIMS)
	tests/e2e/failover_test $(BIN)/etcd-server $(ROUNDS) $(FAILOVER_SHIMS)

# wrk has no client certificates, so the load comes from a program of ours.
TLS_LOAD := $(B)/tests/bench/tls_load
$(TLS_LOAD): $(B)/obj/tests/bench/tls_load.o $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_common)
.PHONY: bench-cluster
bench-cluster: $(BIN)/etcd-server $(BIN)/etcd-pki $(TLS_LOAD)
	@tests/bench/cluster_bench $(BIN) $(TLS_LOAD) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')"

# Cut and slow links, members that are stopped for a while; what operators do while clients go on.
.PHONY: check-partition check-upkeep
check-partition: $(BIN)/etcd-server
	tests/e2e/partition_test $(BIN)/etcd-server
check-upkeep: $(PROGRAMS:%=$(BIN)/%)
	tests/e2e/upkeep_test $(BIN)

# Certificates at the peer port that are wrong in one way each.
.PHONY: check-peer-tls
check-peer-tls: $(BIN)/etcd-server $(BIN)/etcd-pki
	tests/e2e/peer_tls_test $(BIN)
