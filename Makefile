# What people run is what CI runs. `make` alone lists the targets.
#
# Each target first makes sure of what it needs (tests/setup/need.sh): it is installed when that
# is allowed, else the exact command is printed. Downloads come from cargo, pip and apt alone, as
# the machine has them configured; everything made is under target/ and fuzz/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
need := bash tests/setup/need.sh
venv := bash tests/setup/venv.sh
peers := target/peers/venv/bin
lint := target/lint/venv/bin

# What `make package` makes packages for: x86_64 aarch64. Left out: what this machine can build.
ARCHES ?=

# Seconds that `make fuzz` spends on each of its targets.
FUZZ_SECONDS ?= 20

.PHONY: help
help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One build for the demo and the two programs that it runs, so that nothing is compiled twice.
demo := $${CARGO_TARGET_DIR:-target}/debug/demo
build_demo := $(CARGO) build --locked -p imprint -p imprint-rotator -p imprint-e2e \
	--bin imprint --bin imprint-rotator --bin demo

# Of the whole workspace, so that dependencies have the features that the tests are compiled with.
manuals := $${CARGO_TARGET_DIR:-target}/debug/imprint-manuals
build_manuals := $(CARGO) build --locked --quiet --workspace --bin imprint-manuals

.PHONY: demo
demo: cc ## tells the whole story on this machine; the first build takes a few minutes
	@$(build_demo)
	@$(demo)

.PHONY: demo-up
demo-up: cc ## keeps the demo's servers running and prints how to try the commands by hand
	@$(build_demo)
	@$(demo) up

.PHONY: test
test: peers ## runs every test but those that need root: Rust, end to end, the peers
	@$(need) cc curl jq man zsh fish
	$(CARGO) test --locked --workspace
	$(peers)/python -m unittest discover --start-directory tests/peers

.PHONY: test-root
test-root: cc ## the tests that need root or namespaces; builds as you, runs with sudo
	@$(need) python strace e2fsprogs util-linux
	bash tests/root/run.sh

.PHONY: terraform-test
terraform-test: ## tests the Terraform module: plans, scans, and an apply into an emulator that enforces IAM
	@$(need) python
	bash tests/terraform/run.sh

.PHONY: check
check: cc deny ruff tidy units workflows ## formatting, lints, documentation links, dependencies, tidiness, man pages, units
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) metadata --locked --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	@$(build_manuals)
	$(manuals) --check

.PHONY: manuals
manuals: cc ## writes man pages and shell completions from the command lines
	@$(build_manuals)
	$(manuals)

.PHONY: examples
examples: ## shows the examples to what will read them: cloud-init, Ignition, cfn-lint, Ansible, ...
	@$(venv) examples tests/examples/requirements.txt
	@bash tests/examples/debian.sh
	@target/examples/venv/bin/python tests/examples/check.py

.PHONY: contract
contract: cc ## the contract suite, against the stand-in or the Conjur of IMPRINT_CONTRACT_URL
	$(CARGO) run --locked --quiet -p imprint-contract

.PHONY: bench
bench: peers ## what one enrollment costs, beside a bare program and scripts, and a thousand rotations; as root also round trips
	@$(need) cc curl jq
	$(CARGO) build --locked --release -p imprint
	$(CARGO) build --locked --release -p imprint-rotator
	$(CARGO) build --locked --release -p imprint-plain
	$(CARGO) build --locked --release -p imprint-bare
	IMPRINT_E2E_BIN_DIR=$$PWD/target/release $(CARGO) run --locked --quiet -p imprint-e2e --bin bench

.PHONY: crash
crash: cc ## kills the programs at every system call, lets each fail, takes the power away; CASE="kill 'first enroll'" for a part
	$(CARGO) build --locked --release -p imprint
	$(CARGO) build --locked --release -p imprint-rotator
	IMPRINT_E2E_BIN_DIR=$${CARGO_TARGET_DIR:-$$PWD/target}/release $(CARGO) run --locked --quiet -p imprint-crash -- $(CASE)

.PHONY: proof
proof: cc ## runs all that proves Imprint and writes target/proof/index.html; as root; STAGES="fleet bench" for a part
	$(CARGO) run --locked --quiet -p imprint-proof -- run target/proof $(STAGES)

# Where the charts of `make fleet` go: to the rest of the proof, or to a place of their own.
fleet := $(or $(IMPRINT_PROOF_DIR),target/fleet)

.PHONY: fleet
fleet: cc ## 100,000 boots in virtual time, with outages and wrong windows: table, chart and figures in target/fleet
	@$(venv) charts tests/fleet/requirements.txt
	$(CARGO) run --locked --quiet -p imprint-fleet -- $(fleet)
	target/charts/venv/bin/python tests/fleet/chart.py $(fleet)

.PHONY: package
package: cc pack ## deb, rpm, tarball, Lambda zip, SBOMs and SHA256SUMS in target/package; ARCHES="x86_64 aarch64" for both
	bash packaging/build/package.sh $(ARCHES)

.PHONY: package-lint
package-lint: packaged ## what lintian and rpmlint say of target/package: nothing
	@$(need) lintian rpmlint
	bash packaging/build/lint.sh

.PHONY: package-test
package-test: packaged ## installs, upgrades, removes and purges what is in target/package, by dpkg and rpm; as root or by sudo
	@$(need) mmdebstrap python rpm util-linux
	bash tests/packages/run.sh

.PHONY: boot-test
boot-test: cc packaged ## boots what is in target/package: systemd, cloud-init, all cases or CASE=...; as root or by sudo
	@$(need) ip mmdebstrap python rpm util-linux
	bash tests/boot/run.sh $(CASE)

.PHONY: boot-test-vm
boot-test-vm: cc packaged ## boots the deb on a whole emulated machine with EC2's SMBIOS; takes minutes, as root or by sudo
	@$(need) e2fsprogs ip mmdebstrap util-linux
	bash tests/boot/run.sh vm

.PHONY: package-reproducible
package-reproducible: cc ## makes the packages of the last commit twice, elsewhere and later, and compares their bytes
	bash packaging/build/reproducible.sh $(ARCHES)

.PHONY: fuzz
fuzz: ## runs every fuzz target for FUZZ_SECONDS (20) each
	@$(need) cc cxx
	bash fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: fmt
fmt: lint-tools ## formats Rust and Python
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml
	$(lint)/ruff check --quiet --config tests/ruff.toml --select I --fix tests docs packaging
	$(lint)/ruff format --quiet --config tests/ruff.toml tests docs packaging

.PHONY: peers
peers: ## installs what the tests run and did not write (ministack, Conjur SDK, Ansible, ...)
	@$(venv) peers tests/peers/requirements.txt

# The parts of `check`, and what the targets above stand on.

.PHONY: cc
cc:
	@$(need) cc

.PHONY: lint-tools
lint-tools:
	@$(venv) lint tests/setup/lint.txt

# Where there is no package, or one of other sources, it is made.
.PHONY: packaged
packaged:
	@[ -n "$(IMPRINT_BOOT_DEB)$(IMPRINT_BOOT_RPM)" ] || bash packaging/build/fresh.sh || $(MAKE) package

.PHONY: pack
pack:
	@$(venv) pack packaging/build/requirements.txt

.PHONY: deny
deny: cc
	bash tests/setup/cargo_deny.sh check --hide-inclusion-graph bans licenses sources

.PHONY: ruff
ruff: lint-tools
	$(lint)/ruff format --quiet --config tests/ruff.toml --diff tests docs packaging
	$(lint)/ruff check --quiet --config tests/ruff.toml tests docs packaging
	git ls-files -z '*.sh' .ci/run | xargs -0 -r $(lint)/shellcheck --external-sources

.PHONY: workflows
workflows: lint-tools
	$(lint)/actionlint -no-color -shellcheck $(lint)/shellcheck .github/workflows/*.yml

.PHONY: tidy
tidy:
	@$(need) python
	@python3 tests/tidy.py
	@python3 docs/flows.py --check

.PHONY: units
units: ## the systemd units and what lies beside them, by systemd's own tools
	@$(need) python systemd
	python3 -m unittest discover --start-directory tests/units
