# state.mk - how fast the store is by itself, with the memory backend: make bench-state
STATE_BENCH := $(B)/tests/bench/state_bench
$(STATE_BENCH): $(B)/obj/tests/bench/state_bench.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
.PHONY: bench-state
bench-state: $(STATE_BENCH)
	$(STATE_BENCH)
