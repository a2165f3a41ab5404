# grpc.mk - the gRPC door with clients that are not ours.
.PHONY: check-grpc-interop
check-grpc-interop: $(BIN)/etcd-server
	tests/interop/grpc_interop.sh $(BIN)
