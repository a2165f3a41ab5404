# unit.mk - the cmocka tests; each program prints its own summary, a failure stops the run.
.PHONY: check-unit
check-unit: $(UNIT_BIN)
	@tests/lib/run-unit $(UNIT_BIN)

# What has threads, for the thread sanitizer: make SAN=thread threads. The other programs have none, and take long
# under it. Three real members come last.
THREAD_BIN := $(foreach test,unit/fetch unit/log unit/log_writer unit/net unit/peers unit/peers_snapshot unit/peers_tls \
                unit/producer wire/restore torture/backend_lmdb,$(B)/tests/$(test)_test)
.PHONY: threads
threads: $(THREAD_BIN) $(BIN)/etcd-server
	@tests/lib/run-unit $(THREAD_BIN)
	BIN=$(BIN) tests/conformance/run gateway 'maintenance|watch|lease|kv-range|restart'
	tests/e2e/partition_test $(BIN)/etcd-server
