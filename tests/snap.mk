# snap.mk - etcd-snap: the tool with bats; against a real etcd when ETCD_BIN names the folder of its programs.
.PHONY: check-snap check-snap-interop
check-snap: $(BIN)/etcd-snap
	ETCD_SNAP=$(abspath $(BIN)/etcd-snap) bats tests/cli/snap.bats
check-snap-interop: $(BIN)/etcd-snap
	@if [ -n "$(ETCD_BIN)" ]; then tests/interop/snapshot_interop.sh "$(ETCD_BIN)" $(BIN)/etcd-snap; \
	else echo "LEFT OUT: snapshots against a real etcd; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; fi
