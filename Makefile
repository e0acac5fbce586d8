# The verbs of this repository. `make` alone lists them.

ARGS ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
SPACE := $(subst ,, )
COMMA := ,
TOOLS := $(CURDIR)/target/tools/bin
PYTEST := target/venv/bin/python -m pytest
# A golden file that differs fails; it is never rewritten by a test run.
export INSTA_UPDATE ?= no
# What `make fuzz` takes.
export TIME TARGETS JOBS

# Gives what it runs a Postgres, unless there is one at METAGOV_TEST_POSTGRES_URL.
WITH_POSTGRES := tests/tools/postgres run
# The kinds of database that every test runs on.
DATABASES ?= sqlite postgres

# The clients, each in its folder under clients/.
LANGUAGES ?= rust python typescript go java

.PHONY: help run build test tests rust nats python sample clients checks table proof breakable bench fuzz generate tools browser toolchains operations breakers lint format clippy contract generated dependencies

help: ## Lists the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Builds and runs the gateway; ARGS="--listen 127.0.0.1:6000" are its flags
	cargo run --bin metagov -- serve $(ARGS)

build: ## Builds everything, as the tests use it
	cargo build --workspace --locked

test: tools browser build ## Every test, on SQLite and on Postgres; DATABASES=sqlite on that only
	@status=0; $(WITH_POSTGRES) $(MAKE) --no-print-directory tests || status=1; \
	for part in clients sample; do \
		$(MAKE) --no-print-directory $$part || status=1; \
	done; exit $$status

# On each database in turn, in Rust and then in Python; nothing is built in between. The
# lines that begin with "==" say to .ci/run which database a test ran on.
tests:
	@status=0; for kind in $(DATABASES); do for suite in rust python; do \
		echo "== $$suite on $$kind"; \
		METAGOV_TEST_DATABASE=$$kind $(MAKE) --no-print-directory $$suite || status=1; \
	done; done; exit $$status

# What runs below is about METAGOV_TEST_DATABASE, which is sqlite unless it says postgres.
# Half of the time a test waits: for its close_time, for a platform, for a database.
rust: export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))
rust: build nats
	cargo test --workspace --locked --no-fail-fast

# Where the Python tests find the server.
python: export METAGOV_BIN ?= $(abspath $(TARGET))/debug/metagov
python: tools browser operations build
	$(PYTEST) -rxs --no-fold-skipped tests/python

clients: ## The tests of the clients; LANGUAGES="go python" of these only
	@$(MAKE) --no-print-directory --keep-going checks table

# What each language's own tools say, and the tests that need no gateway. Those of Rust
# are among the other tests in Rust.
checks: toolchains
	@echo "== clients"
	@status=0; for language in $(filter-out rust,$(LANGUAGES)); do \
		echo "$$language"; clients/$$language/check || status=1; \
	done; exit $$status

# How each behaves against the real gateway, in Node and in a browser, and that stubs of
# other languages can be made.
table: export METAGOV_BIN ?= $(abspath $(TARGET))/debug/metagov
# Python has two clients.
table: export METAGOV_CLIENTS ?= $(subst $(SPACE),$(COMMA),$(patsubst python,python asyncio,$(LANGUAGES)))
table: tools browser toolchains build
	@echo "== clients"
	@status=0; for part in clients browser languages; do \
		$(PYTEST) -rxs --no-fold-skipped tests/$$part || status=1; \
	done; exit $$status

# A sample of the proof, on both databases at once: five minutes at most.
sample: tools breakers breakable
	@echo "== proof"
	$(PYTEST) -rxs --no-fold-skipped tests/proof

proof: tools breakers breakable ## The proof, as a release needs it; goes on where it was interrupted; ARGS="--share 0.1 --only kill-loop"
	PYTHONPATH=tests target/venv/bin/python -m proof $(ARGS)

# What the proof needs of the system: a Postgres, strace and libfaketime.
breakers:
	@tests/tools/install postgres breakers

# The server with what the proof breaks it with, in target/proof. All that it depends on
# has the features that `make build` gives it, so nothing else is compiled again.
breakable:
	cargo build --workspace --locked --bin metagov --features metagov/proof
	mkdir -p target/proof && cp $(TARGET)/debug/metagov target/proof/metagov

# Both databases are on the same disk.
bench: ## What the gateway costs, beside a service that does nothing; prints only; ARGS=feed for the feed alone
	cargo build --release --locked --bin metagov
	cargo bench --locked -p metagov-tests --bench load --no-run
	METAGOV_TEST_POSTGRES_PLACE=$${TMPDIR:-/tmp} $(WITH_POSTGRES) cargo bench --locked -p metagov-tests --bench load -- $(ARGS)

fuzz: ## Fuzzes what reads from outside; TIME=600 seconds each, TARGETS="cursor object", JOBS=1
	tests/tools/install cargo-fuzz
	tests/fuzz/run

generate: tools ## Makes the code and the pages in clients/ that are made from proto/
	@for language in python typescript go; do clients/$$language/generate || exit 1; done
	clients/docs/generate

tools: ## Installs buf, grpcurl and a Python, pinned, into target/
	@tests/tools/install

browser: ## Installs Chromium for the tests that need it, if root may; else says so
	@tests/tools/install browser

toolchains: ## Installs a JDK 17 with Maven, and gRPC for C++ and Ruby, if root may; else says so
	@tests/tools/install toolchains languages

nats: ## Installs nats-server for the tests, if root may; else says so
	@tests/tools/install nats

operations: ## Installs promtool and haproxy for the tests of server/deploy, if root may; else says so
	@tests/tools/install operations

lint: format clippy contract generated dependencies ## Formatting, clippy, the contract, what is made from it, and what we depend on

format:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

contract: tools
	$(TOOLS)/buf lint
	$(TOOLS)/buf format -d --exit-code
	tests/tools/breaking

# What is committed is what would be made now.
generated: generate
	@git diff --exit-code -- clients && test -z "$$(git status --porcelain -- clients)" || { \
		echo "make lint: clients/ is not as \`make generate\` makes it; commit that" >&2; exit 1; }

dependencies:
	tests/tools/install cargo-deny
	tests/tools/deny
