# One Makefile, not recursive. Output goes under build/, for ./etcd-server is a folder, not a program.
#   make            the four programs, in build/bin/
#   make check      everything that proves them (installs what is missing first)
#   make demo       the backup drill on real input
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
LIBS_common      := -lprotobuf-c -ljansson -lyaml -lssl -lcrypto -lpthread
LIBS_etcd-server := -levent_core -levent_pthreads -lnghttp2 -lhttp_parser -llmdb -lcurl -lcrypt
LIBS_etcd-ctl    := -lcurl
LIBS_etcd-snap   := -lcurl
LIBS_etcd-pki    := -lcurl

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

.PHONY: all clean deps
all: $(PROGRAMS:%=$(BIN)/%)

# The programs that have sources already; each is its folder plus the libraries.
define program
$(BIN)/$(1): $$(call obj,$$(call program_c,$(1))) $(if $(filter etcd-server,$(1)),$$(LIB_SERVER)) $$(LIB_COMMON)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $(if $(filter etcd-server,$(1)),$$(LIB_SERVER)) $$(LIB_COMMON) $$(LIBS_$(1)) $$(LIBS_common)
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
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) -lcmocka $(LIBS_etcd-server) $(LIBS_common)

include $(wildcard tests/*.mk)

clean:
	rm -rf $(BUILD)
