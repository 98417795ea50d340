# What people type. Everything is built from pinned sources into caches; nothing installs system packages.

# Recipes use pipes and background jobs, and a failure in either has to count.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The real parts that the suites run against.
TOOLS := etcd kube-apiserver registry ggcr-registry conformance flux-crds kustomize-controller helm-controller \
  image-automation-controller image-reflector-controller helm kubectl
# What a real node takes beside them; only root on Linux can run one.
NODE_TOOLS := kube-controller-manager kube-scheduler kubelet probe containerd runc cni-plugins
CAN_RUN_NODE := $(filter Linux-0,$(shell uname -s)-$(shell id -u))

CRD := crds/tidegate.dev_releasesets.yaml
# The chart's copy: Helm reads nothing beside its own folder.
CHART_CRD := charts/tidegate/files/crds.yaml

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## Build what the suites need, then run all of them
	@hack/tools $(TOOLS) & tools=$$!; \
	$(if $(CAN_RUN_NODE),hack/image build,true) >/dev/null & image=$$!; \
	if ! cargo test --all-targets --no-run; then kill $$tools $$image 2>/dev/null || true; exit 1; fi; \
	wait $$tools; \
	wait $$image
	@# Where these cannot be had the suites that need them say so, and fail under CI.
	@hack/tools docker-registry promtool || true
	@$(if $(CAN_RUN_NODE),hack/tools $(NODE_TOOLS) || true; hack/image build before >/dev/null || true,true)
	@# A node cluster ends after its test process, not with it.
	@status=0; cargo test --all-targets || status=$$?; hack/cluster sweep; exit $$status

.PHONY: bench-smoke
bench-smoke: ## Measure on a real node what a smoke gate costs (4 minutes); write docs/reference/performance.md
	@hack/tools etcd kube-apiserver registry $(NODE_TOOLS)
	@status=0; CI=true cargo test --test it smoke::measure -- --ignored --nocapture || status=$$?; hack/cluster sweep; exit $$status

.PHONY: bench-install
bench-install: ## Measure how long it takes from helm install to the first promotion (2 minutes); write docs/reference/performance.md
	@hack/tools etcd kube-apiserver registry helm $(NODE_TOOLS)
	@hack/image build >/dev/null
	@status=0; CI=true cargo test --test it install::measure -- --ignored --nocapture || status=$$?; hack/cluster sweep; exit $$status

.PHONY: image
image: ## Make the controller's image without a container runtime; print the folder of its OCI layout
	@hack/image build

.PHONY: bench-flux
bench-flux: ## Measure how long a release takes beside Flux (4 minutes); write docs/reference/performance.md
	@hack/tools $(TOOLS)
	@CI=true cargo test --test it flux::measure -- --ignored --nocapture

.PHONY: cluster-up
cluster-up: ## Start a real one-node Kubernetes with a registry to play with (Linux, root)
	@hack/tools etcd kube-apiserver registry $(NODE_TOOLS)
	@hack/cluster up

.PHONY: cluster-down
cluster-down: ## End it and remove everything it left
	@hack/cluster down

.PHONY: bench-registry
bench-registry: ## Measure requests, time and memory beside crane, regctl and skopeo; write docs/reference/performance.md
	@hack/tools crane regctl docker-registry
	cargo bench --bench registry

.PHONY: generate
generate: ## Write the files that are generated from the source
	@mkdir -p $(dir $(CRD))
	cargo run --quiet -- crd > $(CRD).new
	@mv $(CRD).new $(CRD)
	@cp $(CRD) $(CHART_CRD)
	TIDEGATE_GENERATE=1 cargo test --quiet --test it -- chart::readme::the_readme docs::reference

.PHONY: check-generated
check-generated: ## Fail when a generated file is stale
	@cargo run --quiet -- crd | diff -u $(CRD) - || { echo "$(CRD) is stale; run: make generate" >&2; exit 1; }
	@cmp $(CRD) $(CHART_CRD) || { echo "$(CHART_CRD) is stale; run: make generate" >&2; exit 1; }
	@cargo test --quiet --test it -- chart::readme::the_readme docs::reference

.PHONY: manifests
manifests: ## Render the chart into dist/install.yaml, for those who install without Helm
	@hack/tools helm
	@mkdir -p dist
	hack/manifests >dist/install.yaml.new
	@mv dist/install.yaml.new dist/install.yaml

.PHONY: lint
lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --bench registry -- -D warnings

.PHONY: docs
docs: ## Build the documentation of the source; warnings are errors
	RUSTDOCFLAGS="-D warnings $${RUSTDOCFLAGS:-}" cargo doc --no-deps

.PHONY: soak
soak: ## Play the simulation for long: make soak SEEDS=200000 (hours); a failing run prints its replay
	TIDEGATE_SEEDS=$(or $(SEEDS),200000) cargo test --test it simulation:: -- --nocapture --test-threads 1

.PHONY: mutants
mutants: ## Make known bugs and every small mistake in a copy, and see that tests notice (2 hours); write docs/reference/mutants.md
	hack/mutants known
	hack/mutants score
	hack/mutants report

.PHONY: fuzz
fuzz: ## Search for inputs that break a parser: make fuzz TARGET=link (needs cargo-fuzz and a nightly compiler)
	@test -n "$(TARGET)" || { echo "name one with TARGET=; there are: $$(ls fuzz/corpus | tr '\n' ' ')" >&2; exit 2; }
	@mkdir -p fuzz/found/$(TARGET)
	cargo +nightly fuzz run $(TARGET) fuzz/found/$(TARGET) fuzz/corpus/$(TARGET) -- -max_len=8192 $(FUZZ_ARGS)
