# The verbs of this repository. `make` alone lists them.

ARGS ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(CURDIR)/target/tools/bin
PYTEST := target/venv/bin/python -m pytest
# A golden file that differs fails; it is never rewritten by a test run.
export INSTA_UPDATE ?= no
# What `make fuzz` takes.
export TIME TARGETS JOBS

.PHONY: help run build test rust python bench fuzz tools browser lint format clippy contract dependencies

help: ## Lists the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Builds and runs the gateway; ARGS="--listen 127.0.0.1:6000" are its flags
	cargo run --bin metagov -- serve $(ARGS)

build: ## Builds everything, as the tests use it
	cargo build --workspace --locked

test: tools rust python ## Every test: Rust, then Python against the real binary

rust: build
	cargo test --workspace --locked --no-fail-fast

# Where the Python tests find the server.
python: export METAGOV_BIN ?= $(abspath $(TARGET))/debug/metagov
python: tools browser build
	$(PYTEST) -rxs --no-fold-skipped tests/python

bench: ## What the gateway costs, beside a service that does nothing; prints only
	cargo build --release --locked --bin metagov
	cargo bench --locked -p metagov-tests --bench load

fuzz: ## Fuzzes what reads from outside; TIME=600 seconds each, TARGETS="cursor object", JOBS=1
	tests/tools/install cargo-fuzz
	tests/fuzz/run

tools: ## Installs buf, grpcurl and a Python, pinned, into target/
	@tests/tools/install

browser: ## Installs Chromium for the tests that need it, if root may; else says so
	@tests/tools/install browser

lint: format clippy contract dependencies ## Formatting, clippy, the contract, and what we depend on

format:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

contract: tools
	$(TOOLS)/buf lint
	$(TOOLS)/buf format -d --exit-code
	tests/tools/breaking

dependencies:
	tests/tools/install cargo-deny
	tests/tools/deny
