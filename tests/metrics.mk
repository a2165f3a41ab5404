# metrics.mk - what /metrics tells, moved by doing it.
.PHONY: check-metrics
METRICS_SHIM := $(B)/tests/e2e/stalled_sync.so
check-metrics: $(BIN)/etcd-server $(METRICS_SHIM)
	tests/e2e/metrics_test $(BIN)/etcd-server $(if $(SAN),,$(METRICS_SHIM))
