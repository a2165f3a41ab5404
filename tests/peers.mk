# peers.mk - the peer transport against a real etcd: make check-peers [ETCD_BIN=<folder of etcd, etcdctl>]
PEERS_MEMBER := $(B)/tests/interop/peers_member
$(PEERS_MEMBER): $(B)/obj/tests/interop/peers_member.o $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
.PHONY: check-peers
check-peers: $(PEERS_MEMBER)
	@etcd=$$(tests/interop/find-etcd $(BUILD)/peer-etcd '$(ETCD_BIN)'); \
	if [ -n "$$etcd" ]; then tests/interop/peers_interop.sh "$$etcd" $(PEERS_MEMBER); \
	else echo "LEFT OUT: peers against a real etcd; give ETCD_BIN=<folder of etcd, etcdctl>"; fi
.PHONY: check-upgrade
check-upgrade: all
	@old=$$(tests/interop/peer-etcd $(BUILD)/peer-etcd-3.4 bookworm); \
	if [ -n "$$old" ]; then tests/interop/upgrade_interop "$$old" $(BIN); \
	else echo "LEFT OUT: an upgrade from etcd 3.4, which could not be fetched"; fi
