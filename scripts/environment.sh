# Read by ./demo and ./test: makes .venv and keeps it in step with pyproject.toml.

# prepare EXTRA: install taskyard[EXTRA] into .venv, unless it is there already.
prepare() {
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "error: Taskyard needs Python 3.11 or later; set PYTHON to one ($("$python" --version 2>&1))" >&2
        exit 1
    fi
    stamp=.venv/installed-$1
    if [ -x .venv/bin/python ] && [ -f "$stamp" ] && cmp -s pyproject.toml "$stamp"; then
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        echo "Making .venv …" >&2
        "$python" -m venv .venv || { echo "error: $python cannot make a virtual environment; install its venv module" >&2; exit 1; }
    fi
    echo "Installing taskyard[$1] into .venv (once, about a minute) …" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$1]" >.venv/install.log 2>&1 || {
        cat .venv/install.log >&2
        echo "error: the installation failed; its output is above" >&2
        exit 1
    }
    if [ "$1" = dev ]; then
        prepare_ricloud_client
    fi
    cp pyproject.toml "$stamp"
}

# The ricloud client insists on click < 8 and builds with an old setuptools only, so it has an environment of its own.
# It is AGPL-3.0: the tests run it as a program; nothing of it is imported or distributed.
prepare_ricloud_client() {
    if [ -x .venv/ricloud/bin/ricloud ]; then
        return
    fi
    echo 'setuptools<72' >.venv/ricloud-build.txt
    "$python" -m venv .venv/ricloud &&
        PIP_CONSTRAINT="$PWD/.venv/ricloud-build.txt" .venv/ricloud/bin/python -m pip install --quiet \
            --disable-pip-version-check ricloud==3.2.0 >.venv/ricloud.log 2>&1 ||
        echo "note: the ricloud client could not be installed (.venv/ricloud.log); its tests will be skipped" >&2
}
