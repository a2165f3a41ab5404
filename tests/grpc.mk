# grpc.mk - clients that are not ours against our server, plain and with TLS: those of Debian, and npm's.
.PHONY: check-grpc-interop check-npm-interop check-both-doors check-streams
check-grpc-interop: $(BIN)/etcd-server $(BIN)/etcd-pki
	tests/interop/grpc_interop.sh $(BIN)
check-npm-interop: $(BIN)/etcd-server $(BIN)/etcd-pki
	tests/interop/grpc_interop.sh $(BIN) $(BUILD)/npm

# etcd's own Go client: takes 900 MB of Debian packages, which it installs, and a minute more the first time. With a real
# etcd (ETCD_BIN=<folder>, or REAL=1: one is fetched) that is held to the same.   CLIENTV3_RUN=auth.*: some topics only
LONG_CHECKS += check-clientv3
.PHONY: check-clientv3
check-clientv3: $(BIN)/etcd-server $(BIN)/etcd-pki
	@tests/deps go
	@CLIENTV3_RUN='$(CLIENTV3_RUN)' tests/interop/clientv3_interop.sh $(BIN) $(BUILD) \
	    $(if $(ETCD_BIN)$(REAL),"$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)')")

# Every unary RPC at both doors with the same answer; no leader, deadlines, the end.
check-both-doors: $(BIN)/etcd-server
	tests/interop/doors_interop.py $(BIN)
# The gateway over HTTP/1.1, HTTP/2 and WebSocket.
check-streams: $(BIN)/etcd-server $(BIN)/etcd-pki
	tests/e2e/gateway_test $(BIN)

# Large ranges in memory of a fixed size: 200 MiB; bench-range with 1 GiB.
.PHONY: check-range bench-range
check-range: $(BIN)/etcd-server
	tests/e2e/range_test $(BIN)/etcd-server 200
bench-range: $(BIN)/etcd-server
	tests/e2e/range_test $(BIN)/etcd-server 1024
