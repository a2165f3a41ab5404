# grpc.mk - the gRPC door with clients that are not ours.
.PHONY: check-grpc-interop
check-grpc-interop: $(BIN)/etcd-server
	tests/interop/grpc_interop.sh $(BIN)
# Large ranges in memory of a fixed size: 200 MiB; bench-range with 1 GiB.
.PHONY: check-range bench-range
check-range: $(BIN)/etcd-server
	tests/e2e/range_test $(BIN)/etcd-server 200
bench-range: $(BIN)/etcd-server
	tests/e2e/range_test $(BIN)/etcd-server 1024
