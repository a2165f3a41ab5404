# kube.mk - a real kube-apiserver stores its objects in our server: some minutes, not part of make check.
#   make check-kube-apiserver KUBE_APISERVER=/path/to/kube-apiserver [ETCD_BIN=<folder of a real etcd, to compare>]
LONG_CHECKS += check-kube-apiserver
.PHONY: check-kube-apiserver
check-kube-apiserver: $(PROGRAMS:%=$(BIN)/%)
	@if [ -z "$(KUBE_APISERVER)" ]; then \
	    echo "LEFT OUT: a real kube-apiserver on our server; give KUBE_APISERVER=/path/to/kube-apiserver"; exit 0; fi; \
	tests/interop/kube_apiserver.py $(BIN) "$(KUBE_APISERVER)" && \
	if [ -n "$(ETCD_BIN)" ]; then tests/interop/kube_apiserver.py $(BIN) "$(KUBE_APISERVER)" "$(ETCD_BIN)"; fi
