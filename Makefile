# SPDX-License-Identifier: GPL-2.0-or-later
# The commands that a person types. The build itself is meson's: see meson.build.
SECONDS ?= 60
MINUTES ?= 30
BUILD ?= build

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/setup build
	@meson setup $(BUILD) >/dev/null

demo: ## boot a Debian guest to its login prompt on this terminal
	@tools/setup demo
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

test: ## every test; the last line counts them
	@tools/setup test
	@tests/run $(BUILD)

lab: ## the tests on true KVM, inside QEMU's emulation of AMD SVM
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@tests/run $(BUILD) lab

bench: ## side by side with QEMU, qemu-img and libvirtd, as ratios
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@tests/bench/run $(BUILD)
	@tests/bench/image $(BUILD)
	@tests/bench/daemon $(BUILD)

fuzz: ## ten million random instructions against the host's CPU; every fuzz target for SECONDS=n in all (default 60)
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@$(BUILD)/tests/guest/diff/guest-diff --count 230000
	@tests/fuzz/run $(SECONDS)

tsan: ## loops, block nodes, virtio, I/O threads, the software engine with 4 vCPUs and a loaded berthd under ThreadSanitizer
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@[ -e build-tsan/build.ninja ] || meson setup build-tsan -Db_sanitize=thread -Db_lundef=false \
		-Dc_args=-Wno-error=tsan >/dev/null
	@ninja -C build-tsan cmd/bin.stamp >/dev/null
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp meson test -C build-tsan -t 5 --print-errorlogs \
		soft-smp-code linux-boot-cloud-4-q35 linux-iothreads aio-loop aio-pool block-file virtio-core virtio-devices \
		virtio-hostile virtio-net virtio-p9 virtio-vsock
	@G_SLICE=always-malloc BERTH_BUILD=$(abspath $(BUILD)) BERTHD=$(abspath build-tsan/cmd/daemon/berthd) \
		/usr/bin/python3 tests/interop/libvirt/load.py 5 1000

soak: ## kills, loads and programs that check themselves in guests, again and again for MINUTES=n (default 30)
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@BERTH_BUILD=$(abspath $(BUILD)) tests/interop/qemu-img/kill.py 500
	@BERTH_CRASHES=500 $(BUILD)/tests/unit/block/test-block-crash
	@BERTH_BUILD=$(abspath $(BUILD)) tests/interop/qemu-img/sequences.py
	@BERTH_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/interop/libvirt/kill.py 200
	@BERTH_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/interop/libvirt/load.py 60
	@tests/interop/linux/soak.py $(BUILD) $(MINUTES)

install: all
	@meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD) build-fuzz build-asan build-tsan

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: all demo test lab bench fuzz tsan soak install clean help
