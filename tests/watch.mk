# watch.mk - what watchers cost by themselves, with the memory backend: make bench-watch
WATCH_BENCH := $(B)/tests/bench/watch_bench
$(WATCH_BENCH): $(B)/obj/tests/bench/watch_bench.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
.PHONY: bench-watch
bench-watch: $(WATCH_BENCH)
	$(WATCH_BENCH)
