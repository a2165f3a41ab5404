# operator.mk - what etcd's operations guide has an operator do, where no other test does it.
.PHONY: check-operator
check-operator: $(BIN)/etcd-server
	tests/e2e/operator_test $(BIN)/etcd-server
