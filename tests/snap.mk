# snap.mk - etcd-snap: the tool with bats; against a real etcd when ETCD_BIN names the folder of its programs.
.PHONY: check-snap check-snap-interop
SNAP_SHIM := $(B)/tests/e2e/stalled_sync.so
check-snap: $(BIN)/etcd-snap $(BIN)/etcd-ctl $(SNAP_SHIM)
	ETCD_SNAP=$(abspath $(BIN)/etcd-snap) ETCD_CTL=$(abspath $(BIN)/etcd-ctl) \
	STALL_SHIM=$(if $(SAN),,$(abspath $(SNAP_SHIM))) bats tests/cli/snap.bats
check-snap-interop: $(BIN)/etcd-snap
	@if [ -n "$(ETCD_BIN)" ]; then tests/interop/snapshot_interop.sh "$(ETCD_BIN)" $(BIN)/etcd-snap; \
	else echo "LEFT OUT: snapshots against a real etcd; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; fi
