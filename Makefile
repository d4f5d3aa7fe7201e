# talos: plain make. `make help` lists the targets.
CC = gcc
BUILD ?= build
OPT ?= -O2 -g
SANITIZE ?=
PKG_CONFIG ?= pkg-config

# Who may include whom; the order is also the order of linking. tests/lint/layers checks it.
ALLOW_base =
ALLOW_wire = base
ALLOW_net = base
ALLOW_store = base
ALLOW_jobs = wire store base
ALLOW_graph = wire store base
ALLOW_capsules = graph jobs net wire store base
ALLOW_catalog = capsules graph jobs net wire store base
ALLOW_server = catalog capsules graph jobs net wire store base
ALLOW_cli = server catalog capsules graph jobs net wire store base
ALLOW_worker = wire base
LAYERS = base wire net store jobs graph capsules catalog server cli worker

# The program that holds keys never links a parser of media or documents.
PKGS_talos = jansson libsodium libcrypto libcurl libwebsockets
PKGS_worker = jansson libsodium libcrypto libavformat libavcodec libavutil libswscale libswresample \
	libebur128 cairo freetype2 libseccomp
LIBS_talos = $(shell $(PKG_CONFIG) --libs $(PKGS_talos)) -llmdb -lm
LIBS_worker = $(shell $(PKG_CONFIG) --libs $(PKGS_worker)) -lm

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
FORTIFY = $(if $(SANITIZE),-DTL_SANITIZED=1,-D_FORTIFY_SOURCE=2)
ALL_CFLAGS = -std=c17 $(OPT) $(WARN) -fPIE -fstack-protector-strong -ffp-contract=off -pthread $(SANITIZE) \
	-I. -D_GNU_SOURCE $(FORTIFY) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -pthread $(SANITIZE) $(LDFLAGS)
worker_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(PKGS_worker))

src = $(sort $(wildcard $(1)/*.c) $(wildcard $(1)/*/*.c))
obj = $(patsubst %.c,$(BUILD)/%.o,$(call src,$(1)))
lib = $(BUILD)/lib/$(1).a
libs = $(foreach l,$(1),$(call lib,$(l)))

TALOS_LIBS = $(call libs,server catalog capsules graph jobs store net wire base)
WORKER_LIBS = $(call libs,worker wire base)

.PHONY: all
all: $(BUILD)/talos $(BUILD)/talos-worker

$(BUILD)/talos: $(call obj,cli) $(TALOS_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(call obj,cli) $(TALOS_LIBS) $(LIBS_talos)

$(BUILD)/talos-worker: $(BUILD)/worker/main.o $(WORKER_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(BUILD)/worker/main.o $(WORKER_LIBS) $(LIBS_worker)

# One archive a layer; main.o of a program is in none.
define layer_lib
$(BUILD)/lib/$(1).a: $(filter-out $(BUILD)/worker/main.o,$(call obj,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach l,$(LAYERS),$(eval $(call layer_lib,$(l))))

$(BUILD)/worker/%.o: worker/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(worker_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The built-in catalog is part of the program: .incbin is invisible to -MMD.
$(BUILD)/catalog/embed.o: $(wildcard catalog/*/*.json catalog/*/*/*.json)

# Tests: every tests/unit/<layer>/test_*.c is a program of its own; other .c files beside it are linked into it.
UNIT_SRC = $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BIN = $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
UNIT_HELP = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRC),$(wildcard tests/unit/*/*.c)))
beside = $(filter $(BUILD)/$(dir $(1))%,$(UNIT_HELP))
layer_of = $(word 3,$(subst /, ,$(1)))
# A layer's tests link that layer and what it may include, so that a test proves the layering too.
test_libs = $(call libs,$(call layer_of,$(1)) $(ALLOW_$(call layer_of,$(1))))
test_ext = $(if $(filter worker,$(call layer_of,$(1))),$$(LIBS_worker),$$(LIBS_talos))

define unit_program
$(BUILD)/$(1): $(BUILD)/$(1).o $(call beside,$(1)) $(call test_libs,$(1))
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) -lcmocka $(call test_ext,$(1))
endef
$(foreach t,$(UNIT_SRC:.c=),$(eval $(call unit_program,$(t))))

$(BUILD)/tests/unit/worker/%.o: tests/unit/worker/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(worker_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.so: %.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=c17 -O2 -g $(WARN) -I. -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl

# The simulation links the graph with a store of its own (tests/sim/fakedb.c) in place of store/db.h's; the scans of that store are tested as store/'s are.
SIM = $(BUILD)/tests/sim/sim
SIM_LIBS = $(call libs,graph wire base)
SEEDS ?= 2000
SEED0 ?= 1
$(SIM): $(patsubst %.c,$(BUILD)/%.o,$(filter-out %/test_fakedb.c,$(wildcard tests/sim/*.c)) store/text.c) $(SIM_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(SIM_LIBS) $(LIBS_talos)
SIM_TESTS = $(BUILD)/tests/sim/test_fakedb $(BUILD)/tests/sim/test_scan
$(BUILD)/tests/sim/test_fakedb: $(BUILD)/tests/sim/test_fakedb.o
$(BUILD)/tests/sim/test_scan: $(BUILD)/tests/unit/store/test_scan.o
$(SIM_TESTS): $(BUILD)/tests/sim/fakedb.o $(call libs,base)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(call libs,base) -lcmocka $(LIBS_talos)

PRELOADS = $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/crash/*_shim.c))

.PHONY: help deps test-deps tests lint unit node-modules node-tests check check-tests asan tsan fuzz bench demo format tidy clean sim
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 16

deps: ## installs what building needs and is missing
	@tools/deps build

test-deps:
	@tools/deps build test

tests: $(UNIT_BIN) $(PRELOADS) $(SIM) $(SIM_TESTS)

lint: ## layers, headers, folders
	@tests/lint/layers
	@tests/lint/folders
	@CC="$(CC)" WORKER_CFLAGS="$(worker_CFLAGS)" tests/lint/headers

unit: all tests ## the unit tests, in C
	@BUILD=$(BUILD) tests/unit/run $(UNIT_BIN)

sim: $(SIM) $(SIM_TESTS) ## the executor on virtual time, SEEDS=2000 worlds from SEED0=1 on
	@BUILD=$(BUILD) tests/unit/run $(SIM_TESTS)
	@$(SIM) -f
	@$(SIM) -s $(SEED0) -n $(SEEDS)

tests/node_modules/.stamp: tests/package-lock.json
	cd tests && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

node-modules: tests/node_modules/.stamp

# talos with a catalog in which every private field holds a string of its own; tests/canary looks for them in everything that leaves. Beside it talos-canary-next, a later program of which one
# capsule is newer.
CANARY = $(BUILD)/talos-canary
$(CANARY): $(BUILD)/talos tests/canary/plant.mjs $(wildcard catalog/*/*.json catalog/*/*/*.json)
	node tests/canary/plant.mjs $(BUILD)/canary
	cd $(BUILD)/canary && $(CC) $(ALL_CFLAGS) -I$(CURDIR) -c -o embed.o $(CURDIR)/catalog/embed.c
	cd $(BUILD)/canary/next && $(CC) $(ALL_CFLAGS) -I$(CURDIR) -c -o embed.o $(CURDIR)/catalog/embed.c
	$(CC) $(ALL_LDFLAGS) -o $@-next $(call obj,cli) $(BUILD)/canary/next/embed.o $(TALOS_LIBS) $(LIBS_talos)
	$(CC) $(ALL_LDFLAGS) -o $@ $(call obj,cli) $(BUILD)/canary/embed.o $(TALOS_LIBS) $(LIBS_talos)

NODE_TESTS = $(sort $(wildcard tests/*/*.test.mjs))
node-tests: all $(PRELOADS) $(CANARY) node-modules ## the tests over HTTP, SSE and WebSocket, of crashes and of leaks
	TALOS_BIN=$(abspath $(BUILD))/talos TALOS_BUILD=$(abspath $(BUILD)) node --test $(NODE_TESTS)

check-tests: lint unit sim node-tests

check: test-deps ## everything that must hold before a change lands
	@$(MAKE) --no-print-directory -j$(shell nproc) all tests
	@$(MAKE) --no-print-directory check-tests

ASAN = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
TSAN = -fsanitize=thread -fno-omit-frame-pointer -fno-optimize-sibling-calls
asan: test-deps ## the same tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=build-asan SANITIZE="$(ASAN)" OPT="-O1 -g" all tests
	@$(MAKE) --no-print-directory BUILD=build-asan SANITIZE="$(ASAN)" OPT="-O1 -g" SEEDS=500 unit sim node-tests

tsan: test-deps ## the same tests under ThreadSanitizer
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=build-tsan SANITIZE="$(TSAN)" OPT="-O1 -g" all tests
	@TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1" $(MAKE) --no-print-directory BUILD=build-tsan SANITIZE="$(TSAN)" OPT="-O1 -g" unit node-tests

# Fuzzing: every tests/fuzz/fuzz_*.c is a libFuzzer target with its corpus in tests/fuzz/corpus/<name>. Without SECONDS the corpus is
# replayed and a second of new inputs tried.
FUZZ_BIN = $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(TALOS_LIBS)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o %.a,$^) $(LIBS_talos)
.PHONY: fuzz-run
fuzz-run: $(FUZZ_BIN)
	@tests/fuzz/run $(if $(SECONDS),$(SECONDS),1) $(FUZZ_BIN)
fuzz: ## replays the fuzzing corpora; SECONDS=600 looks for new inputs, per target
	@tools/deps build fuzz
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=build-fuzz CC=clang OPT="-O1 -g" \
		SANITIZE="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined" fuzz-run

BENCH_BIN = $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/bench/*.c)))
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(TALOS_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS_talos)
bench: ## figures as ratios, measured side by side in one run
	@tools/deps build bench
	@$(MAKE) --no-print-directory -j$(shell nproc) all $(BENCH_BIN)
	@BUILD=$(abspath $(BUILD)) tests/bench/run

demo: ## the main job on a clip; CLIP=my.mp4 takes your own
	@tools/deps build demo
	@$(MAKE) --no-print-directory -j$(shell nproc) all
	@BUILD=$(BUILD) CLIP="$(CLIP)" tools/demo

C_FILES = $(shell git ls-files '*.c' '*.h')
format: ## clang-format over all C files
	@tools/deps tidy
	clang-format -i $(C_FILES)

tidy: ## clang-tidy over all C files
	@tools/deps tidy
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- -std=c17 -D_GNU_SOURCE -I. $(worker_CFLAGS)

clean: ## removes what was built
	rm -rf build build-asan build-tsan build-fuzz

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
