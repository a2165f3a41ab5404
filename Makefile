# One Makefile, not recursive. Output goes under build/, for ./etcd-server is a folder, not a program.
#   make            the four programs, in build/bin/
#   make demo       the backup drill on real input (installs what is missing first)
#   make check      everything that proves them (installs what is missing first)
#   make help       all the others
# Variants: make SAN=address,undefined check ; make SAN=thread check ; make CC=clang
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

comma    := ,
PROGRAMS := etcd-server etcd-ctl etcd-pki etcd-snap
VERSION  := 0.1.0
CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
SAN      ?=
BUILD    ?= build
B        := $(BUILD)/$(if $(SAN),$(subst $(comma),-,$(SAN)),plain)
BIN      := $(if $(SAN),$(B)/bin,$(BUILD)/bin)
PREFIX   ?= /usr/local
DESTDIR  ?=

WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wswitch-enum
OPT      ?= -O2
CFLAGS   ?= -g
HARDEN   := -fstack-protector-strong -fno-strict-aliasing $(if $(SAN),,-D_FORTIFY_SOURCE=2)
FLAGS     = -std=c11 -D_GNU_SOURCE -DSUITE_VERSION='"$(VERSION)"' -I. -I$(B)/gen $(OPT) $(WARN) $(HARDEN) $(CFLAGS) \
            $(SAN:%=-fsanitize=%) $(if $(SAN),-fno-omit-frame-pointer -fno-sanitize-recover=all)
LDFLAGS  += $(SAN:%=-fsanitize=%)
LIBS_common      := -lprotobuf-c -ljansson -lyaml -lssl -lcrypto -lresolv -lpthread
LIBS_etcd-server := -levent_core -levent_pthreads -lnghttp2 -lz -lhttp_parser -llmdb -lcrypt
LIBS_etcd-ctl    := -lcurl -llmdb
LIBS_etcd-snap   := -lhttp_parser -llmdb
LIBS_etcd-pki    :=
LIBS_transport_test := -lcurl

# ---- sources: a new file in a room needs no edit here ----
PROTO    := $(wildcard common/schema/*.proto)
GEN_C    := $(PROTO:%.proto=$(B)/gen/%.pb-c.c)
GEN_H    := $(GEN_C:.c=.h)
COMMON_C := $(sort $(wildcard common/*/*.c))
SERVER_C := $(sort $(filter-out etcd-server/main.c,$(wildcard etcd-server/*.c etcd-server/*/*.c)))
obj       = $(patsubst %.c,$(B)/obj/%.o,$(1))
COMMON_O := $(call obj,$(COMMON_C)) $(GEN_C:$(B)/gen/%.c=$(B)/obj/gen/%.o)
SERVER_O := $(call obj,$(SERVER_C))
LIB_COMMON := $(B)/libcommon.a
LIB_SERVER := $(B)/libserver.a
program_c  = $(sort $(wildcard $(1)/*.c))

TESTLIB_O  := $(call obj,$(sort $(wildcard tests/lib/*.c)))
UNIT_C     := $(sort $(wildcard tests/unit/*_test.c tests/wire/*_test.c tests/torture/*_test.c tests/script/*_test.c))
UNIT_BIN   := $(UNIT_C:%.c=$(B)/%)

.PHONY: all clean deps demo check install uninstall help
all: $(PROGRAMS:%=$(BIN)/%)

# A tool is its folder plus libcommon; the server's folder is a library, for the tests link it too.
define program
$(BIN)/$(1): $$(call obj,$$(call program_c,$(1))) $$(LIB_COMMON)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(LIB_COMMON) $$(LIBS_$(1)) $$(LIBS_common)
endef
$(foreach p,$(filter-out etcd-server,$(PROGRAMS)),$(eval $(call program,$(p))))
$(BIN)/etcd-server: $(B)/obj/etcd-server/main.o $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)

$(LIB_COMMON): $(COMMON_O)
	@rm -f $@
	ar rcs $@ $^
$(LIB_SERVER): $(SERVER_O)
	@rm -f $@
	ar rcs $@ $^

# ---- generated code: from the schema, into the build tree ----
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: %.proto
	@mkdir -p $(B)/gen
	protoc-c --c_out=$(B)/gen -I. $<
$(B)/obj/gen/%.o: $(B)/gen/%.c $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -c $< -o $@
$(B)/obj/%.o: %.c Makefile | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -MMD -MP -c $< -o $@
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.PRECIOUS: $(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h $(B)/obj/%.o

# ---- unit tests: one program per tests/{unit,wire,torture,script}/*_test.c ----
$(UNIT_BIN): $(B)/%: $(B)/obj/%.o $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) -lcmocka $(LIBS_$(*F)) $(LIBS_etcd-server) $(LIBS_common)

include $(wildcard tests/*.mk)

# ---- the two commands: what is missing is installed before anything is built ----
JOBS := -j$(shell nproc 2>/dev/null || echo 2)
deps:
	@tests/deps
demo:
	@tests/deps build run
	@echo "building (the first time this takes a minute) ..."; $(MAKE) -s $(JOBS) all
	@tests/demo/demo.sh $(BIN)

# Every check-NAME of the fragments in tests/ is part of it, but for those that a fragment calls LONG_CHECKS.
CHECKS := $(filter-out $(LONG_CHECKS),$(sort $(shell sed -n 's/^\(check-[a-z0-9-]*\):.*/\1/p' tests/*.mk)))
check: deps
	@$(MAKE) -s $(JOBS) all
	@MAKE="$(MAKE)" tests/lib/run-checks $(B)/check $(CHECKS)

# ---- install ----
BINDIR := $(DESTDIR)$(PREFIX)/bin
MANDIR := $(DESTDIR)$(PREFIX)/share/man
MAN    := $(wildcard man/*.[1-9])
man_to  = $(MANDIR)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
COMPAT ?=
LINKS  := etcd:etcd-server etcdctl:etcd-ctl etcdutl:etcd-snap
install: all
	install -d $(BINDIR) $(sort $(foreach page,$(MAN),$(dir $(call man_to,$(page)))))
	install -m 755 $(PROGRAMS:%=$(BIN)/%) $(BINDIR)
	$(foreach page,$(MAN),install -m 644 $(page) $(call man_to,$(page)) && )true
	$(if $(COMPAT),$(foreach link,$(LINKS),ln -sf $(lastword $(subst :, ,$(link))) $(BINDIR)/$(firstword $(subst :, ,$(link))) && )true)
# Links of etcd's names go only if they are ours.
uninstall:
	rm -f $(PROGRAMS:%=$(BINDIR)/%) $(foreach page,$(MAN),$(call man_to,$(page)))
	@$(foreach link,$(LINKS),[ "$$(readlink $(BINDIR)/$(firstword $(subst :, ,$(link))))" != $(lastword $(subst :, ,$(link))) ] || \
	    rm -f $(BINDIR)/$(firstword $(subst :, ,$(link)));) true

clean:
	rm -rf $(BUILD)

help:
	@echo 'make                      the four programs, in $(BUILD)/bin/'
	@echo 'make demo                 the backup drill on real input; installs what is missing'
	@echo 'make check                all tests; installs what is missing'
	@echo 'make deps                 installs the Debian packages that are missing (list: tests/deps)'
	@echo 'make lint                 layout, layers, manual pages, cppcheck, clang, clang-tidy'
	@echo 'make bench | bench-NAME   how fast, beside a real etcd'
	@echo 'make failover ROUNDS=50   the leader of three is killed, or its disk stops, under load'
	@echo 'make sim SEED= RUNS=      members in a simulated world that crashes them'
	@echo 'make fuzz FUZZ_SECONDS=   each decoder under libFuzzer'
	@echo 'make check-differential   random requests to us and to a real etcd, which must answer alike; RUNS=100 SEED=1'
	@echo 'make check-clientv3 REAL=1 etcd'"'"'s own Go client (900 MB of packages), beside a real etcd too'
	@echo 'make install DESTDIR= PREFIX=/usr/local COMPAT=1   COMPAT: also links etcd, etcdctl, etcdutl'
	@echo 'make uninstall | clean'
	@echo 'Variants, each in a directory of its own: SAN=address,undefined   SAN=thread   CC=clang BUILD=build/clang'
	@echo 'Checks one by one: $(CHECKS)'
print-%: # what a variable holds, for scripts
	@echo '$($*)'
