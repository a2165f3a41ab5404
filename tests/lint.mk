# lint.mk - what can be said about the sources without running them: make lint, or one of its parts.
LINT_C   := $(sort $(wildcard common/*/*.c etcd-*/*.c etcd-server/*/*.c))
LINT_ALL := $(sort $(wildcard common/*/*.[ch] etcd-*/*.[ch] etcd-server/*/*.[ch] tests/*/*.[ch]))
SCRIPTS  := tests/deps .ci/run $(wildcard tests/lint/banned tests/lib/run-* tests/demo/*.sh tests/conformance/run tests/cli/*.sh \
            tests/interop/*.sh)
LINT_FLAGS := -std=c11 -D_GNU_SOURCE -DSUITE_VERSION='"$(VERSION)"' -I. -I$(B)/gen
LINTS    := lint-format lint-layers lint-banned lint-man lint-shell lint-cppcheck lint-clang lint-tidy

.PHONY: lint $(LINTS)
lint: deps
	@MAKE="$(MAKE)" tests/lib/run-checks $(B)/lint $(LINTS)
lint-format:
	@clang-format --dry-run -Werror $(LINT_ALL)
lint-layers:
	@tests/lint/layers
lint-banned:
	@tests/lint/banned
lint-man:
	@mandoc -T lint -W warning man/*.[1-9]
	@sed -n 's|.*Xr \(etcd-[a-z]*\) \([1-9]\).*|man/\1.\2|p' man/*.[1-9] | sort -u | xargs ls >/dev/null
lint-shell:
	@if command -v shellcheck >/dev/null; then shellcheck -S warning $(SCRIPTS); else echo "LEFT OUT: no shellcheck"; fi
# cppcheck does not know C23's __VA_OPT__: it reads a copy in which the log's macros drop their fields.
lint-cppcheck: $(GEN_H)
	@rm -rf $(B)/cppcheck && mkdir -p $(B)/cppcheck && cp -r common etcd-* $(B)/cppcheck
	@sed -i -e 's/__VA_ARGS__ __VA_OPT__(, ){/{/' -e 's/ __VA_OPT__(, ) __VA_ARGS__//' \
	    $$(grep -rl __VA_OPT__ $(B)/cppcheck)
	@cd $(B)/cppcheck && cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability -j2 \
	    --suppressions-list=$(CURDIR)/tests/lint/cppcheck.suppress -D_GNU_SOURCE -DSUITE_VERSION='"$(VERSION)"' -I. $(LINT_C)
# clang's own warnings, the same flags as the build's.
lint-clang: $(GEN_H)
	@printf '%s\n' $(LINT_C) $(wildcard tests/lib/*.c tests/unit/*.c tests/wire/*.c tests/fuzz/*.c) | xargs -P2 -n8 clang $(LINT_FLAGS) $(WARN) -fsyntax-only
# A file that has passed is looked at again when it, a header or the list of checks has changed.
# The analyzer gives a function up after so many steps (its own limit: 225000, 2.4 times the time of all files).
TIDY_STEPS  ?= 75000
TIDY_EFFORT := $(foreach word,-analyzer-config max-nodes=$(TIDY_STEPS),--extra-arg=-Xclang --extra-arg=$(word))
TIDY_DONE := $(LINT_C:%.c=$(B)/tidy/%.ok)
lint-tidy: $(TIDY_DONE)
$(TIDY_DONE): $(B)/tidy/%.ok: %.c .clang-tidy $(filter %.h,$(LINT_ALL)) | $(GEN_H)
	@mkdir -p $(@D)
	clang-tidy --quiet $(TIDY_EFFORT) $< -- $(LINT_FLAGS) 2>&1 | { ! grep -v -E '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header'; }
	@touch $@

# Part of `make check`: the manual pages, and the order of the layers.
.PHONY: check-man check-layers
check-man: lint-man
	@echo "manual pages: no warning"
check-layers: lint-layers lint-banned
	@echo "layers: nothing is included upward, no banned call"
