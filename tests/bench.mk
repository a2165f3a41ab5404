# bench.mk - make bench [ETCD_BIN=<folder of etcd, etcdctl, etcdutl>]: ours and a real etcd, side by side.
# Without ETCD_BIN an etcd in PATH is taken, else one is fetched from Debian; without one, ours alone runs.
unexport ETCD_BIN # a server would take it for one of its variables
PAGE_FLOOR := $(B)/tests/bench/page_floor
$(PAGE_FLOOR): $(B)/obj/tests/bench/page_floor.o $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_COMMON) $(LIBS_common)
.PHONY: bench bench-grpc
bench: $(BIN)/etcd-server $(BIN)/etcd-snap
	@tests/bench/server_bench $(BIN) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')"
# The gRPC door: h2load of nghttp2-client makes the load.
bench-grpc: $(BIN)/etcd-server $(PAGE_FLOOR)
	@command -v h2load >/dev/null || { echo "bench-grpc needs h2load: apt-get install nghttp2-client"; exit 1; }
	@tests/bench/grpc_bench $(BIN) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')" --floor $(PAGE_FLOOR)
