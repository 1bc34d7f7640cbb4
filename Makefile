# Every target has a help text behind ##; `make help` prints them.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Where full-partition works: key, sectors, record and log.
FULL_DIR    ?= full-partition
# What fuzz runs, and for how long each.
FUZZ        ?= .
FUZZTIME    ?= 60s
export CGO_ENABLED = 0

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the programs, into bin/
	$(GO) build -o bin/ ./cmd/...

.PHONY: test
test: ## the default tests
	$(GO) test ./...

.PHONY: purego
purego: ## the proof system without assembly
	$(GO) test -tags purego ./proofs/...

.PHONY: fuzz
fuzz: ## every decoder against made-up input, 60 s each (FUZZTIME=10s for less, FUZZ=proofs for one folder)
	@failed=; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' $(FUZZ)); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
	    echo "== $$file $$name"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || failed="$$failed $$name"; \
	  done; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

.PHONY: race
race: ## the concurrent rooms under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m ./internal/...

.PHONY: conditions
conditions: ## planted faults: each must be told in /healthz, the metric and a webhook, and its end too
	$(GO) test -tags conditions -count=1 -timeout 20m -v ./lab/conditions

.PHONY: e2e
e2e: ## the operator's guide and kill -9, with real processes and a real MariaDB (mariadbd must be installed)
	$(GO) test -tags e2e -count=1 -timeout 30m -v ./e2e/...

.PHONY: trouble
trouble: ## faults of nodes, messager, fees and chain, played on the real processes
	$(GO) test -tags e2e,trouble -run Trouble -count=1 -timeout 40m -v ./e2e/

# CHAOS="-seed 7 -worlds 1 -logs" plays one world again and shows its log.
CHAOS       ?= -full
.PHONY: chaos
chaos: ## faults alone and in pairs over 1,000 deadlines in simulated time, the whole state checked after each (some minutes)
	$(GO) test -count=1 -timeout 20m -v -run 'TestChaos$$' ./lab/chaos $(CHAOS)

.PHONY: galera
galera: ## the task queue on a Galera cluster of three nodes, one of which is killed (needs mariadbd, galera-4 and rsync)
	$(GO) test -tags galera -count=1 -timeout 5m -v ./internal/queue/mysql

.PHONY: bench
bench: ## time and memory beside the reference (needs cargo; BENCH=--no-reference without, BENCH=--quick for one round)
	$(GO) run ./cmd/wdpost-bench $(BENCH)

.PHONY: bench-scale
bench-scale: ## windows of 1, 2, 4, ... sectors for 30 minutes, and what a full partition takes
	$(GO) run ./cmd/wdpost-bench scale $(BENCH)

.PHONY: full-partition
full-partition: ## keys (60.8 GB), proof and verification of a whole 32 GiB partition; goes on after an interruption
	$(GO) run ./cmd/wdpost-bench --workdir $(FULL_DIR) full $(BENCH)

AXE_CORE    = axe-core@4.14.1

.PHONY: browser
browser: ## every page in headless Chromium: live, usable by keyboard, nothing serious for axe (needs chromium and npm)
	@dir=$$(mktemp -d) && trap 'rm -rf '$$dir EXIT && (cd $$dir && npm pack -s $(AXE_CORE) >/dev/null && tar xzf axe-core-*.tgz) && \
	  AXE=$$dir/package/axe.min.js $(GO) test -tags browser -count=1 -timeout 5m -run 'Browser|Live|Keyboard' ./internal/dashboard

.PHONY: screenshots
screenshots: ## the pictures of the pages in docs/images (needs chromium, npm and fonts-noto-cjk)
	SCREENSHOTS=$(CURDIR)/docs/images $(MAKE) browser

.PHONY: alerts
alerts: ## the alert rules of deploy/prometheus fire where they should (needs promtool)
	cd deploy/prometheus && promtool check rules wdpost.rules.yml && promtool test rules wdpost.rules.test.yml

.PHONY: release
release: ## static binaries, archives, deb, rpm, container image, bill of materials and checksums, into dist/
	cd lab/release && $(GO) run . --out ../../dist

.PHONY: release-check
release-check: ## the release of this commit, made twice in two folders, is the same bit for bit
	@dir=$$(mktemp -d) && trap 'rm -rf '$$dir EXIT && for copy in one two; do \
	  git clone -q . $$dir/$$copy && (cd $$dir/$$copy/lab/release && $(GO) run . --arch amd64 --out ../../dist) || exit 1; \
	done && diff $$dir/one/dist/SHA256SUMS $$dir/two/dist/SHA256SUMS && echo 'the release is reproducible'

# The generators that `make generate` runs; their versions stand in what they make.
PROTOC      = 3.21.12
GEN_GO      = google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GEN_GRPC    = google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

.PHONY: generate
generate: ## everything that is generated: gRPC code (needs protoc), vector kernels, the manuals' tables of keys
	@test "$$(protoc --version)" = "libprotoc $(PROTOC)" || { echo "protoc $(PROTOC) is needed: apt-get install protobuf-compiler"; exit 1; }
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(GEN_GO)
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(GEN_GRPC)
	PATH=$(CURDIR)/bin/tools:$$PATH $(GO) generate ./...
	$(GO) run ./lab/manual

.PHONY: lint
lint: ## gofmt, vet, staticcheck, arm64 and cgo-free builds
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags e2e,trouble,galera,soak,differential,sick,browser ./...
	$(GO) run $(STATICCHECK) ./...
	cd lab/release && $(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	$(GO) mod verify >/dev/null

.PHONY: house
house: ## imports point one way, rooms are pure and commented
	$(GO) test -count=1 -run .  .

.PHONY: devnet
devnet: ## a devnet cluster proving real sectors until you stop it
	$(GO) run ./cmd/wdpost-devnet

.PHONY: differential
differential: ## ours against rust-fil-proofs on random sectors (needs cargo)
	$(GO) test -tags differential -count=1 -timeout 30m -v ./reference/

.PHONY: bench-queue
bench-queue: ## the task queue on SQLite and MariaDB: tasks a second, small and full questions, 200 and 1,000 slaves; what idle slaves cost; claims beside a million archived tasks
	$(GO) test ./internal/rpc -run '^$$' -bench 'Throughput' -benchtime 10000x -timeout 30m
	$(GO) test ./internal/rpc -run '^$$' -bench 'FullQuestions' -benchtime 300x -timeout 30m
	$(GO) test ./internal/rpc -run '^$$' -bench 'IdleSlaves' -benchtime 1x -timeout 30m
	$(GO) test ./internal/rpc -run '^$$' -bench 'IdleSlave$$|ClaimBesideArchive' -benchtime 1000x -timeout 30m

.PHONY: sick
sick: ## a cluster of which a part is sick: stores that hang, go and lie, slaves that hang and lie, kill -9; SICK="-deadlines 4" for CI (needs mariadbd)
	$(GO) test -tags sick -count=1 -v -run TestSick -timeout 60m ./e2e -args $(SICK)

.PHONY: bench-storage
bench-storage: ## stores: attach and check rates, time to healthy sectors beside dead stores, reads at 10 ms, S3, what the reader process costs
	$(GO) test ./internal/sector -run '^$$' -bench Storage -benchtime 3x -timeout 30m
	$(GO) test ./internal/sector/store/process -run '^$$' -bench Read -timeout 10m

.PHONY: soak
soak: ## ten minutes of real proofs while processes, network and database are hurt, then a look for leaks (WDPOST_SOAK=1h for longer)
	$(GO) test -tags soak -count=1 -v -run TestSoak -timeout 0 ./cmd/wdpost-master-daemon
