# doors.mk - the doors without a store behind them: end to end with curl, and their speed with wrk.
DOORS_SERVER := $(B)/tests/bench/doors_server
$(DOORS_SERVER): $(B)/obj/tests/bench/doors_server.o $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
.PHONY: check-doors bench-doors
check-doors: $(DOORS_SERVER)
	tests/e2e/doors_test $(DOORS_SERVER)
bench-doors: $(DOORS_SERVER)
	tests/bench/doors_bench $(DOORS_SERVER)
