# lease.mk - what 100,000 leases cost, and their storm when all run out at once: make bench-lease, by
# themselves, then on a server, beside a real etcd (its load generator: watch.mk).
LEASE_BENCH := $(B)/tests/bench/lease_bench
$(LEASE_BENCH): $(B)/obj/tests/bench/lease_bench.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
.PHONY: bench-lease
bench-lease: $(LEASE_BENCH) $(B)/tests/bench/lease_load $(BIN)/etcd-server
	$(LEASE_BENCH)
	@tests/bench/lease_bench.py $(BIN) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')" --load $(B)/tests/bench/lease_load
