# keystay: make help says what there is.

GO        ?= go
# Which source this is: of git, or of a tree that git archive made, whose file COMMIT
# says it. A tree without either builds as well.
COMMIT    := $(shell [ -e .git ] && git describe --always --exclude '*' --abbrev=40 --dirty 2>/dev/null || sed -n 's/^commit \([0-9a-f]\{40\}\)$$/\1/p' COMMIT)
VERSION   := $(shell [ -e .git ] && git describe --tags --always --abbrev=12 --dirty 2>/dev/null || sed -n 's/^version \([0-9A-Za-z][^%]*\)$$/\1/p' COMMIT)
VERSION   := $(or $(VERSION),$(shell echo $(COMMIT) | cut -c1-12),devel)
DEMO      ?=
FUZZTIME  ?= 30s
BENCH     ?=
BENCH_OUT ?=
BENCH_ARGS ?=
BENCH_PEERS ?=
BENCHTIME ?= 1s
BENCHCOUNT ?= 1
ROUNDS    ?= 100
SOAKTIME  ?= 1h

# Built and run from the module proxy's source, so nothing has to be installed.
# Its cache is this tree's own: what it keeps names files by the tree it first
# saw them in, and the rules that go by path miss them in another.
GOLANGCI  ?= GOLANGCI_LINT_CACHE=$(CURDIR)/bin/.lint $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2

# Version and commit come from the lines above, so that a clone which git does not
# trust, or a tree without .git, builds as well, and to the same bytes.
BUILD      = $(GO) build -trimpath -buildvcs=false -ldflags "-X keystay/internal/cli.version=$(VERSION) -X keystay/internal/cli.commit=$(COMMIT)"
PLATFORMS  = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# The race detector, but not within ciphers, curves and the hashes of passwords: they
# compute, share nothing, and would take a third of all tests' time for it. The programs
# that e2e/internal/world builds have the same, so that all is compiled once.
RACE       = -race -gcflags=crypto/internal/fips140/...=-race=false -gcflags=golang.org/x/crypto/...=-race=false

.DEFAULT_GOAL := help
.NOTPARALLEL:

# A program with the race detector in it waits for a second at each good end.
# Tests start hundreds of them.
export GORACE ?= atexit_sleep_ms=0

.PHONY: help build demo test unit e2e check fmt lint bench microbench fuzz soak dist cross reproducible release packages images charts man clean need-go need-cc deps

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: need-go ## build bin/relay and bin/remote
	$(BUILD) -o bin/ ./cmd/...

demo: build ## the whole of it on this machine: a page through relay and remote; DEMO=once ends after it
	cd e2e && $(GO) build -o ../bin/demo ./demo
	@bin/demo -bin bin $(if $(filter once,$(DEMO)),-once)

test: deps unit e2e ## everything, with the race detector: unit tests, then the real programs, a CA and browsers

deps: need-go
	e2e/install-deps.sh

unit: need-go need-cc ## the first half of test: needs nothing but Go and a C compiler
	$(GO) test $(RACE) -vet=off -timeout 30m ./...

e2e: need-go need-cc ## the second half of test
	cd e2e && $(GO) test $(RACE) -vet=off -timeout 40m ./...

check: fmt lint ## before each commit: gofmt, lint with vet and staticcheck, unit tests without the race detector
	$(GO) test -timeout 5m ./...

fmt: need-go
	@out=$$(gofmt -l .); \
	if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; echo "hint: gofmt -w on these"; exit 1; fi

lint: need-go ## golangci-lint with .golangci.yml, in both modules; the first run builds it, about a minute
	$(GOLANGCI) run ./...
	cd e2e && $(GOLANGCI) run -c ../.golangci.yml ./...

bench: build ## keystay beside HAProxy and others, on loopback and over a slow link; tables; BENCH=quick in three minutes, BENCH_OUT=FILE for JSON, BENCH_PEERS=DIR for other tunnels, BENCH_ARGS=-help for more
	cd e2e && $(GO) build -o ../bin/bench ./bench
	bin/bench -bin bin $(if $(BENCH),-size $(BENCH)) $(if $(BENCH_OUT),-out $(BENCH_OUT)) $(if $(BENCH_PEERS),-peers $(BENCH_PEERS)) $(BENCH_ARGS)

microbench: need-go ## the micro-benchmarks, BENCHTIME=1s each, BENCHCOUNT=1 times
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(BENCHCOUNT) ./...

fuzz: need-go ## each fuzzer for FUZZTIME=30s; stops at the first that finds something
	@grep -rHoE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sort | while IFS=: read -r file func; do \
		dir=$$(dirname "$$file"); name=$${func#func }; \
		echo "== $$dir $$name"; \
		(cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	done

soak: need-go need-cc ## the unit tests with KEYSTAY_ROUNDS=ROUNDS (100) rounds where they have rounds, up to SOAKTIME (1h) a package; then e2e with KEYSTAY_SOAK=1
	KEYSTAY_ROUNDS=$(ROUNDS) $(GO) test $(RACE) -vet=off -count=1 -timeout $(SOAKTIME) ./...
	cd e2e && KEYSTAY_SOAK=1 $(GO) test -count=1 -timeout 4h .

# The flags and variables are those of every builder, whatever the environment says: the
# same commit gives the same bytes with the same Go.
dist: need-go ## both programs for PLATFORMS (Linux, macOS, Windows on amd64 and arm64), into dist/
	@for p in $(PLATFORMS); do \
		echo "== $$p"; export GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off GOFLAGS=-mod=readonly; \
		$(BUILD) -o dist/$$GOOS-$$GOARCH/ ./cmd/... || exit 1; \
	done

cross: dist ## dist, and vet for each of PLATFORMS
	@for p in $(PLATFORMS); do \
		echo "== vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet -trimpath ./... || exit 1; \
	done

reproducible: need-go ## builds this commit twice, from git and from an archive, at two paths with other caches, and compares the bytes
	@deploy/reproducible $(PLATFORMS)

release: need-go ## dist, with an SBOM for each program, checksums, and a signature with KEYSTAY_RELEASE_KEY=FILE
	@deploy/release $(PLATFORMS)

packages: ## Debian packages of both programs for Linux of PLATFORMS, into dist/, by nfpm
	@$(MAKE) --no-print-directory dist PLATFORMS="$(filter linux/%,$(PLATFORMS))"
	@deploy/packages $(filter linux/%,$(PLATFORMS))

images: ## OCI images of both programs for Linux of PLATFORMS, FROM scratch, into dist/, without a daemon
	@$(MAKE) --no-print-directory dist PLATFORMS="$(filter linux/%,$(PLATFORMS))"
	@deploy/image $(filter linux/%,$(PLATFORMS))

charts: need-go ## Helm charts: lint, render, and compare with deploy/kubernetes; the first time some minutes
	@deploy/charts/trial --check

man: build ## the man pages, into dist/man
	bin/relay man dist/man
	bin/remote man dist/man

clean: ## remove bin and dist
	rm -rf bin dist

need-go:
	@command -v $(firstword $(GO)) >/dev/null 2>&1 || { \
		echo "missing: go, the version that go.mod names or later"; \
		echo "hint: see https://go.dev/doc/install"; exit 1; }

# The race detector is C on Linux.
need-cc:
	@[ "$$($(GO) env GOOS)" != linux ] || command -v "$$($(GO) env CC)" >/dev/null 2>&1 || { \
		echo "missing: a C compiler, which the race detector needs"; \
		echo "hint: apt-get install gcc libc6-dev"; exit 1; }
