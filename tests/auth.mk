# auth.mk - users, roles and tokens between our server and a real etcd: ETCD_BIN names the folder of its programs.
.PHONY: check-auth-interop
check-auth-interop: $(PROGRAMS:%=$(BIN)/%)
	@if [ -n "$(ETCD_BIN)" ]; then tests/interop/auth_interop.sh "$(ETCD_BIN)" $(BIN); \
	else echo "LEFT OUT: authentication against a real etcd; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>"; fi
