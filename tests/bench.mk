# bench.mk - make bench [ETCD_BIN=<folder of etcd, etcdctl, etcdutl>]: ours and a real etcd, side by side.
# Without ETCD_BIN an etcd in PATH is taken, else one is fetched from Debian; without one, ours alone runs.
unexport ETCD_BIN # a server would take it for one of its variables
.PHONY: bench
bench: $(BIN)/etcd-server $(BIN)/etcd-snap
	@tests/bench/server_bench $(BIN) "$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')"
