# Everything that a person or the CI does with this repository.
# A target's comment behind ## is its help.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What runs too long for every change: how long each fuzz target runs there.
LONG_FUZZ ?= 30m

.PHONY: help generate check test long bench

help: ## Show these targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

generate: ## Write all generated code anew.
	go generate ./...

check: ## Vet, lint, and prove that generated code is up to date.
	.ci/check

test: ## Run all tests; servers that are not installed are skipped loudly.
	.ci/test

long: ## Run the heavy tests with the race detector, then fuzz for long; keeps the log under data/long.
	@mkdir -p data/long
	@log=data/long/$$(date -u +%Y%m%dT%H%M%SZ).log; echo "log: $$log"; \
	{ TEST_LONG=1 TEST_REQUIRE_SERVERS=1 .ci/test -race -tags long -count=1 -timeout 4h ./... && .ci/fuzz $(LONG_FUZZ); } 2>&1 | tee "$$log"

bench: ## Run all benchmarks.
	go test -run '^$$' -bench . -benchmem ./...
