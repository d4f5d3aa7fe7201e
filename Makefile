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
PKGS_talos = jansson libsodium libcrypto libcurl libwebsockets librhonabwy
PKGS_worker = jansson libsodium libcrypto libavformat libavcodec libavutil libswscale libswresample libavfilter \
	libebur128 cairo pangocairo pangoft2 libseccomp
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

# Tests: every tests/unit/<layer>/test_*.c is a program of its own.
UNIT_SRC = $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BIN = $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
WORKER_UNIT = $(filter $(BUILD)/tests/unit/worker/%,$(UNIT_BIN))
UNIT_HELPERS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRC),$(wildcard tests/unit/*/*.c)))

$(WORKER_UNIT): $(BUILD)/%: $(BUILD)/%.o $(WORKER_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(WORKER_LIBS) -lcmocka $(LIBS_worker)

.SECONDEXPANSION:
$(filter-out $(WORKER_UNIT),$(UNIT_BIN)): $(BUILD)/%: $(BUILD)/%.o $$(filter $$(dir $(BUILD)/%)$$(PERCENT),$(UNIT_HELPERS)) $(TALOS_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(TALOS_LIBS) -lcmocka $(LIBS_talos)
PERCENT = %

$(BUILD)/tests/unit/worker/%.o: tests/unit/worker/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(worker_CFLAGS) -MMD -MP -c -o $@ $<

.PHONY: tests unit
tests: $(UNIT_BIN)
unit: all tests
	@BUILD=$(BUILD) tests/unit/run $(UNIT_BIN)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
