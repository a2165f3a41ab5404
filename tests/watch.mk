# watch.mk - what watchers cost: make bench-watch, by themselves (the memory backend) and on a server,
# beside a real etcd.
WATCH_BENCH := $(B)/tests/bench/watch_bench
$(WATCH_BENCH): $(B)/obj/tests/bench/watch_bench.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
# Load generators for any server.
LOAD_O := $(call obj,tests/bench/load.c tests/bench/load_puts.c tests/bench/stalls.c)
WATCH_LOAD := $(B)/tests/bench/watch_load
LEASE_LOAD := $(B)/tests/bench/lease_load
$(WATCH_LOAD) $(LEASE_LOAD): $(B)/%: $(B)/obj/%.o $(LOAD_O) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_COMMON) -lnghttp2 $(LIBS_common)
.PHONY: bench-watch
bench-watch: $(WATCH_BENCH) $(WATCH_LOAD) $(BIN)/etcd-server
	$(WATCH_BENCH)
	@tests/bench/watch_bench.py $(BIN) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')" --load $(WATCH_LOAD)
# On ours alone, for a second: every event is there and in order.
.PHONY: check-watch
check-watch: $(WATCH_LOAD) $(BIN)/etcd-server
	@BENCH_DIR=$(B)/bench tests/bench/watch_bench.py $(BIN) --load $(WATCH_LOAD) --only events --rounds 1 --seconds 1
