# The two commands that a newcomer needs: `make up` and `make test`.

ROOT_DIR ?= /var/lib/canopus
CARGO ?= cargo
UP_PACKAGES = containerd runc nftables conntrack mount gcc libc6-dev make
# Tests also lead real traffic through namespaces, build images from Debian's packages and drive other clients.
# npm and pip may be there without being Debian's.
TEST_PACKAGES = $(UP_PACKAGES) iproute2 procps util-linux bsdutils curl openssl python3 docker-registry skopeo debian-archive-keyring \
  etcd-server etcd-client \
  $(if $(shell command -v npm),,nodejs npm) $(if $(shell python3 -m pip --version 2>/dev/null),,python3-pip)

CANOPUS = target/release/canopus
define install
	@missing=""; for package in $(1); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing with apt-get:$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get install -y -q --no-install-recommends $$missing >/dev/null 2>&1 || \
	    { apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends $$missing >/dev/null; }; \
	fi
endef

.PHONY: build up down purge status packages test-packages fmt clippy tidy test bench

build:
	$(CARGO) build --release --locked -p canopus

packages:
	$(call install,$(UP_PACKAGES))

test-packages:
	$(call install,$(TEST_PACKAGES))

up: packages build
	$(CARGO) xtask images pause --root-dir $(ROOT_DIR)
	$(CANOPUS) up --root-dir $(ROOT_DIR)

down:
	$(CANOPUS) down --root-dir $(ROOT_DIR)

purge:
	$(CANOPUS) down --purge --root-dir $(ROOT_DIR)

status:
	$(CANOPUS) status --root-dir $(ROOT_DIR)

fmt:
	$(CARGO) fmt --all -- --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

tidy:
	$(CARGO) xtask tidy

test: test-packages
	$(CARGO) xtask images
	$(CARGO) xtask kubectls
	$(CARGO) xtask clients
	$(CARGO) test --workspace --locked --no-fail-fast

bench: test-packages build
	$(CARGO) xtask images
	bench/run
