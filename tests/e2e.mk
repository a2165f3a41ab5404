# e2e.mk - the real programs on loopback: killed, starved, fed with rubbish, and asked to end.
#   make check-e2e                       about a minute
#   make SAN=address,undefined check-e2e the same with the sanitizers in all programs
#   make crash ROUNDS=200                kill -9 under load; nothing acknowledged may be lost
SHIMS := $(addprefix $(B)/tests/e2e/,lost_writes.so broken_sync.so stalled_sync.so)
$(SHIMS): $(B)/%.so: %.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -Wno-missing-prototypes -O2 -fPIC -shared -o $@ $< -ldl -lpthread
ROUNDS ?= 200
.PHONY: check-e2e crash
# A preloaded shim and ASan's runtime exclude each other: with SAN the crashes are plain kills.
check-e2e: $(PROGRAMS:%=$(BIN)/%) $(SHIMS)
	tests/e2e/crash_test $(BIN)/etcd-server 5 $(if $(SAN),,$(B)/tests/e2e/lost_writes.so)
	tests/e2e/life_test $(BIN)/etcd-server $(if $(SAN),,$(B)/tests/e2e/broken_sync.so)
	tests/e2e/start_test $(BIN)
	tests/e2e/tls_test $(BIN)
	tests/e2e/bad_input_test $(BIN)
crash: $(BIN)/etcd-server $(B)/tests/e2e/lost_writes.so
	tests/e2e/crash_test $(BIN)/etcd-server $(ROUNDS) $(B)/tests/e2e/lost_writes.so

# With a real etcd (found as `make bench` finds one); without one this says what was left out.
LONG_CHECKS += check-snap-interop check-auth-interop # parts of check-interop
.PHONY: check-interop
check-interop: $(PROGRAMS:%=$(BIN)/%)
	@etcd=$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)'); \
	if [ -z "$$etcd" ]; then \
	    echo "LEFT OUT: everything against a real etcd; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; \
	    exit 0; \
	fi; \
	tests/interop/datadir_interop "$$etcd" $(BIN) && \
	tests/interop/kube_calls.py "$$etcd" $(BIN) && \
	tests/interop/snapshot_interop.sh "$$etcd" $(BIN)/etcd-snap && \
	tests/interop/auth_interop.sh "$$etcd" $(BIN) && \
	tests/interop/ctl_same "$$etcd/etcdctl" $(BIN) && \
	tests/interop/differential.py $(BIN) "$$etcd" --runs 12 --steps 100 --jobs 4 && \
	tests/cli/pki_test.sh $(BIN)/etcd-pki "$$etcd/etcd" "$$etcd/etcdctl" && \
	tests/cli/pki_live_test.sh $(BIN)/etcd-pki "$$etcd/etcd" $(PROBES) && \
	tests/e2e/pki_cluster_test $(BIN) "$$etcd/etcd" && \
	tests/e2e/cluster_test $(BIN) "$$etcd/etcd" 500 && \
	$(MAKE) -s --no-print-directory check-cli-etcdctl ETCD_BIN="$$etcd"

# Random requests to us and to a real etcd, compared; twelve runs are in check-interop. Three minutes:
#   make check-differential RUNS=100 SEED=1
LONG_CHECKS += check-differential
ASKED_RUNS = $(if $(filter command% environment%,$(origin RUNS)),$(RUNS),100)
.PHONY: check-differential
check-differential: $(BIN)/etcd-server
	@etcd=$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)'); \
	if [ -n "$$etcd" ]; then tests/interop/differential.py $(BIN) "$$etcd" --runs $(ASKED_RUNS) --seed $(or $(SEED),1) --steps 250 --minimise 60; \
	else echo "LEFT OUT: random requests beside a real etcd; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; fi

# Three members as processes. With a real etcd also in mixed clusters, 10,000 writes each, and with cut links:
#   make check-cluster ETCD_BIN=<folder>
.PHONY: check-cluster
check-cluster: $(BIN)/etcd-server $(BIN)/etcd-pki
	tests/e2e/cluster_test $(BIN)
	$(if $(ETCD_BIN),tests/e2e/cluster_test $(BIN) "$(ETCD_BIN)/etcd" 10000)
	$(if $(ETCD_BIN),tests/e2e/partition_test $(BIN)/etcd-server "$(ETCD_BIN)/etcd" $(BIN)/etcd-server)

# Some thirty ways to misuse the client port; memory stays flat and another client is served.
.PHONY: check-floods
check-floods: $(BIN)/etcd-server
	tests/e2e/flood_test $(BIN)/etcd-server

# Pages that are kept as answers have them, against the same records read one by one, while writers change them.
#   tests/e2e/pages_test build/bin/etcd-server 60 SEED 3    a minute, three members, their leader killed
.PHONY: check-pages
check-pages: $(BIN)/etcd-server
	tests/e2e/pages_test $(BIN)/etcd-server 3

.PHONY: check-election
check-election: $(BIN)/etcd-server
	tests/e2e/election_test $(BIN)/etcd-server

# The two commands on a minimal Debian that has nothing of ours yet; takes root and debootstrap.
LONG_CHECKS += check-fresh-machine
.PHONY: check-fresh-machine
check-fresh-machine:
	tests/e2e/fresh_machine $(BUILD)/fresh-machine
