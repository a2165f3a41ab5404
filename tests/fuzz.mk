# fuzz.mk - fuzz targets: one LLVMFuzzerTestOneInput() per tests/fuzz/*_fuzz.c, its seeds in tests/fuzz/corpus/NAME/.
#   make fuzz FUZZ_SECONDS=60     runs each under libFuzzer with clang's sanitizers
#   make check-fuzz               replays every seed and every past crash, with any compiler
FUZZ_C       := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_REPLAY  := $(FUZZ_C:%.c=$(B)/%)
FUZZ_B       := $(BUILD)/fuzz
FUZZ_BIN     := $(FUZZ_C:%.c=$(FUZZ_B)/%)
FUZZ_SECONDS ?= 600

.PHONY: check-fuzz fuzz
check-fuzz: $(FUZZ_REPLAY)
	@for target in $(FUZZ_REPLAY); do \
	    name=$${target##*/}; name=$${name%_fuzz}; \
	    timeout 300 $$target $$(find tests/fuzz/corpus/$$name -type f 2>/dev/null) || exit 1; \
	done; echo "fuzz corpus: $(words $(FUZZ_REPLAY)) targets passed"

$(FUZZ_REPLAY): $(B)/%: $(B)/obj/%.o $(B)/obj/tests/fuzz/replay.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)

# libFuzzer needs everything compiled by clang with coverage: a variant of the build of its own.
fuzz:
	$(MAKE) CC=clang SAN=address,undefined,fuzzer-no-link B=$(FUZZ_B) $(FUZZ_BIN:%=%.run)
$(FUZZ_BIN): $(FUZZ_B)/%: $(FUZZ_B)/obj/%.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	clang -fsanitize=address,undefined,fuzzer -o $@ $(filter-out %/replay.o,$(filter %.o,$^)) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)
$(FUZZ_BIN:%=%.run): %.run: %
	@name=$$(basename $< _fuzz); mkdir -p $(FUZZ_B)/corpus/$$name; \
	$< -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ_B)/$$name- -print_final_stats=1 \
	    $(FUZZ_B)/corpus/$$name tests/fuzz/corpus/$$name
