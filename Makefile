# The front door. Each target is one command of the host tool in tools/, which brings what the machine lacks,
# does the work, and says in one sentence what went wrong. Options are the tool's own: `cargo run -p gnomon-tools -- help`.

ifeq ($(shell command -v cargo),)
$(error Rust is missing: install it with rustup (https://rustup.rs), then try again)
endif
ifeq ($(shell command -v cc),)
$(error a C linker is missing: install gcc (on Debian: apt-get install gcc libc6-dev), then try again)
endif

# The tool is built the first time, which is worth seeing; afterwards cargo has nothing to tell. Unoptimised, because
# it waits for other programs most of its time and an optimised build would make the first run half a minute longer.
QUIET := $(if $(wildcard target/debug/gnomon),--quiet)
GNOMON := cargo run $(QUIET) --package gnomon-tools --

.PHONY: help run um test oracle sweep bench image debian support check gdb setup clean
.DEFAULT_GOAL := help

help: ## say what there is
	@sed -n 's/^\([a-z]*\): ## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

run: ## build everything and boot it in QEMU: a shell on a terminal, else the demonstration
	@$(GNOMON) run

um: ## the same as an ordinary process of this system, without QEMU
	@$(GNOMON) um

test: ## run every test, on the host and on the booted kernel
	@$(GNOMON) test

oracle: ## compare 10 000 random sequences of calls on this system's Linux and on both machines: half an hour
	@$(GNOMON) oracle

sweep: ## call every system call with arguments by chance for ten minutes: the kernel must stand it and keep nothing
	@$(GNOMON) sweep

bench: ## measure beside Linux, user-mode Linux and this host; GROUP=clocks, or make bench-clocks, for one group
	@$(GNOMON) bench $(GROUP)

bench-%:
	@$(GNOMON) bench $*

image: ## build target/image/{vdso.so,gnomon.elf,gnomon-um,initramfs.cpio} and nothing else
	@$(GNOMON) image

debian: ## build target/image/debian.cpio, an archive with Debian's own programs (bash, coreutils, python3 ...)
	@$(GNOMON) debian

support: ## write target/support.md: every system call, what of it there is, and which self-tests make it
	@$(GNOMON) support

check: ## format, lints and documentation, warnings counting as errors
	@$(GNOMON) check

gdb: ## boot the image under gdb, stopped before its first instruction
	@$(GNOMON) gdb

setup: ## bring what the machine lacks; every other target does so by itself
	@$(GNOMON) setup

clean: ## remove everything that was built
	rm -rf target
