# conformance.mk - what a real etcd answered, asked of our programs: make check-gateway, make check-cli.
# FILTER=WORD runs only the cases whose names contain it.
.PHONY: check-gateway check-cli
check-gateway: $(BIN)/etcd-server
	BIN=$(BIN) tests/conformance/run gateway $(FILTER)
check-cli: $(PROGRAMS:%=$(BIN)/%)
	BIN=$(BIN) tests/conformance/run cli $(FILTER)

# The same cases with a real etcdctl and etcdutl against our server (gRPC): a part of check-interop.
LONG_CHECKS += check-cli-etcdctl
.PHONY: check-cli-etcdctl
check-cli-etcdctl: $(PROGRAMS:%=$(BIN)/%)
	@etcd=$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)'); \
	if [ -n "$$etcd" ]; then BIN=$(BIN) CTL=$$etcd/etcdctl SNAP=$$etcd/etcdutl tests/conformance/run cli $(FILTER); \
	else echo "LEFT OUT: the command lines with a real etcdctl; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; fi

# That these runners try again what is listed as a race, and nothing else.
.PHONY: check-runners
check-runners:
	tests/conformance/runners_test
