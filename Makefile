# `make demo` and `make test` work on a fresh machine: each sets up .venv by itself.
.DELETE_ON_ERROR:
.PHONY: demo test lint format bench faults overhead lock clean

BIN := .venv/bin
# A uv on the PATH is used as it is; else the pinned one goes into .uv (the only thing pip installs).
UV := $(shell command -v uv || echo .uv/bin/uv)
EXPORT := DS_BUILD_OPS=0

demo: .venv/ready
	$(BIN)/zoo demo

# Two files at a time, the long ones first: many tests wait for processes that start, and a file's tests share them.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/ready
	$(BIN)/python -m benchmarks

# Nine faults on a cluster of three hosts (root, Linux, a PostgreSQL server): about half an hour.
faults: .venv/ready
	$(BIN)/python -m benchmarks.faults

# Wants an idle machine: it compares wall-clock times.
overhead: .venv/ready
	$(BIN)/python -m benchmarks.overhead

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --require-hashes -r requirements.uv.lock

.venv/ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python '>=3.11,<3.14' .venv
	$(EXPORT) $(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Upgrading is a deliberate act: `make lock`, read the diff, run the tests.
lock: | $(UV)
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	echo uv | $(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 - -o requirements.uv.lock

clean:
	rm -rf .venv .uv zoo-demo
