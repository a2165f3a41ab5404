# e2e.mk - the real programs on loopback: killed, starved, fed with rubbish, and asked to end.
#   make check-e2e                 under two minutes
#   make crash ROUNDS=200          kill -9 under load; none of what was acknowledged may be lost
SHIMS := $(B)/tests/e2e/lost_writes.so $(B)/tests/e2e/broken_sync.so
$(SHIMS): $(B)/%.so: %.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -Wno-missing-prototypes -O2 -fPIC -shared -o $@ $< -ldl -lpthread
ROUNDS ?= 200
.PHONY: check-e2e crash
crash: $(BIN)/etcd-server $(B)/tests/e2e/lost_writes.so
	tests/e2e/crash_test $(BIN)/etcd-server $(ROUNDS) $(B)/tests/e2e/lost_writes.so
