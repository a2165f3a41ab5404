# e2e.mk - the real programs on loopback: killed, starved, fed with rubbish, and asked to end.
#   make check-e2e                       about a minute
#   make SAN=address,undefined check-e2e the same with the sanitizers in all programs
#   make crash ROUNDS=200                kill -9 under load; nothing acknowledged may be lost
SHIMS := $(B)/tests/e2e/lost_writes.so $(B)/tests/e2e/broken_sync.so
$(SHIMS): $(B)/%.so: %.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -Wno-missing-prototypes -O2 -fPIC -shared -o $@ $< -ldl -lpthread
ROUNDS ?= 200
.PHONY: check-e2e crash
# A preloaded shim and ASan's runtime exclude each other: with SAN the crashes are plain kills.
check-e2e: $(PROGRAMS:%=$(BIN)/%) $(SHIMS)
	tests/e2e/crash_test $(BIN)/etcd-server 5 $(if $(SAN),,$(B)/tests/e2e/lost_writes.so)
	tests/e2e/life_test $(BIN)/etcd-server $(if $(SAN),,$(B)/tests/e2e/broken_sync.so)
	tests/e2e/bad_input_test $(BIN)
crash: $(BIN)/etcd-server $(B)/tests/e2e/lost_writes.so
	tests/e2e/crash_test $(BIN)/etcd-server $(ROUNDS) $(B)/tests/e2e/lost_writes.so
