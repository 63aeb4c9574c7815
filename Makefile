# Every target makes the virtual environment first, on the first call. make demo, make test, make test-all, make static, make check, make bench-demo, make hosts
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= runs/demo
WORKERS ?= 2
# one thread each: more would wait for one another
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

export HF_HUB_OFFLINE = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-all static check format bench-demo hosts docs docs-pages clean

$(READY): pyproject.toml constraints.txt
	@echo "==> making $(VENV) and installing the pinned dependencies (about 7.5 GB, a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,track]' \
	&& echo "==> installed in $$(( $$(date +%s) - start )) s"
	@touch $@

demo: $(READY)
	@echo "==> the main job on the embedded synthetic world -> $(OUT)"
	@start=$$(date +%s); $(BIN)/mmkd run demo --out $(OUT) $(SET) && echo "==> demo took $$(( $$(date +%s) - start )) s"
	@echo "==> next: $(BIN)/mmkd --help; or '. $(BIN)/activate', and then mmkd alone is enough"

test: $(READY)
	@echo "==> tests, without the slow ones"
	@start=$$(date +%s); $(PYTEST) -m "not slow" && echo "==> tests took $$(( $$(date +%s) - start )) s"

test-all: $(READY)
	@echo "==> all tests"
	@start=$$(date +%s); $(PYTEST) && echo "==> tests took $$(( $$(date +%s) - start )) s"

# the package's types on one processor, those of the tests on another: they have caches of their own
static: $(READY)
	@echo "==> format, lint, complexity"
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@echo "==> types"
	@$(BIN)/mypy >$(VENV)/.types-package 2>&1 & package=$$!; failed=; \
	for folder in tests tests/*/; do $(BIN)/mypy --config-file tests/mypy.ini $$folder/*.py >$(VENV)/.types || { cat $(VENV)/.types; failed=1; break; }; done; \
	wait $$package || failed=1; cat $(VENV)/.types-package; test -z "$$failed"

check: static
	@$(MAKE) --no-print-directory test-all

format: $(READY)
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench-demo: $(READY)
	@$(BIN)/python bench/above_teachers.py demo --out runs/bench

# hosts that cannot be in .venv, on top of it: FiftyOne needs an older starlette, Label Studio's SDK an older OpenCV
HOSTS := .venv-hosts
$(HOSTS)/.ready: $(READY)
	@echo "==> making $(HOSTS) with FiftyOne, LazySlide and Label Studio's SDK (about 0.8 GB, two minutes)"
	@test -x $(HOSTS)/bin/python || $(BIN)/python -m venv --without-pip $(HOSTS)
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	>"$$($(HOSTS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/base.pth"
	@grep -viE '^(starlette|sse-starlette|pyopenssl)==' constraints.txt >$(HOSTS)/constraints.txt
	@start=$$(date +%s); \
	install() { $(BIN)/python -m pip --python $(HOSTS)/bin/python install --no-compile --disable-pip-version-check "$$@"; }; \
	{ install --constraint $(HOSTS)/constraints.txt fiftyone==1.22.1 lazyslide==0.13.0 appdirs jsf lxml xmljson \
	&& install --no-deps label-studio-sdk==2.1.2; } >$(HOSTS)/install.log 2>&1 || { tail -n 5 $(HOSTS)/install.log; exit 1; }; \
	echo "==> installed in $$(( $$(date +%s) - start )) s"
	@touch $@

hosts: $(HOSTS)/.ready

$(VENV)/.docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	@$(BIN)/python docs/generator --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@! grep -rlE --include='*.html' '(src|stylesheet" href)="https?:' site || (echo "these pages load something from outside"; exit 1)
	@echo "==> site/index.html; with search: $(BIN)/python -m http.server --directory site"

docs-pages: $(READY)
	@$(BIN)/python docs/generator && echo "==> generated pages: docs/reference, docs/architecture.md"

clean:
	rm -rf runs site bench/results .pytest_cache .mypy_cache .ruff_cache
