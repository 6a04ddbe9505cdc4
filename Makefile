# SPDX-License-Identifier: BSD-3-Clause
# Thin: meson does the work. `make demo` and `make test` are all that a newcomer needs.
BUILD ?= build
JOBS ?= $(shell nproc)
ROOT = $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo chaos sim test build lab bench format lint asan tsan fuzz deps deps-lint clean

demo: build
	$(ROOT) tools/lab/statecast-lab --programs $(BUILD) demo --report $(BUILD)/demo/report.json $(if $(ETCD),--etcd)

lab: build
	$(ROOT) tools/lab/statecast-lab --programs $(BUILD) up $(if $(ETCD),--etcd)

# Faults at random under real transfers; SEED=n plays one again.
CHAOS_S ?= 300
chaos: build
	ninja -C $(BUILD) -j$(JOBS) tools/lab/link/statecast-link
	$(ROOT) tools/lab/statecast-lab --programs $(BUILD) chaos --seconds $(CHAOS_S) $(if $(SEED),--seed $(SEED)) \
	  --report $(BUILD)/chaos/report.json $(if $(ETCD),--etcd)

# Simulated fleets with faults, one seed after the other.
SEEDS ?= 1000
sim: deps $(BUILD)/build.ninja
	ninja -C $(BUILD) -j$(JOBS) tools/sim/statecast-sim
	$(BUILD)/tools/sim/statecast-sim --seed $(or $(SEED),1) --seeds $(SEEDS) --progress

build: deps $(BUILD)/build.ninja
	ninja -C $(BUILD) -j$(JOBS) programs

test: deps $(BUILD)/build.ninja
	ninja -C $(BUILD) -j$(JOBS)
	$(ROOT) python3 tests/run.py $(BUILD)

bench: deps $(BUILD)/build.ninja
	ninja -C $(BUILD) -j$(JOBS) benches
	$(ROOT) python3 -B bench/run.py $(BUILD)

$(BUILD)/build.ninja: | deps
	meson setup $(BUILD) $(MESON_FLAGS)

deps:
	@tools/install-packages.sh build test demo
deps-lint:
	@tools/install-packages.sh build test lint

# Each of the following has a build folder of its own.
asan: deps
	[ -d build-asan ] || meson setup build-asan -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build-asan -j$(JOBS)
	$(ROOT) env ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  python3 tests/run.py build-asan --no-suite e2e --no-suite bench-smoke

tsan: deps
	[ -d build-tsan ] || meson setup build-tsan -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false
	ninja -C build-tsan -j$(JOBS)
	$(ROOT) env TSAN_OPTIONS=halt_on_error=1 \
	  python3 tests/run.py build-tsan --no-suite e2e --no-suite bench-smoke

FUZZ_S ?= 60
fuzz: deps-lint
	[ -d build-fuzz ] || CXX=clang++ meson setup build-fuzz -Dfuzz=true -Dbuildtype=debugoptimized -Db_lundef=false
	tests/fuzz/run.sh build-fuzz $(FUZZ_S)

lint: deps-lint $(BUILD)/build.ninja
	python3 tests/tidy.py
	tools/lint.sh $(BUILD) $(JOBS)

format: deps-lint
	git ls-files '*.h' '*.cc' | xargs clang-format -i

clean:
	rm -rf build build-asan build-tsan build-fuzz
