# Sourced by the other scripts: makes .venv in the checkout when it is missing or pyproject.toml has changed since.
# Afterwards $ROOT is the checkout and $VENV its environment, whose programs come first on the path.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

fail() {
    echo "scripts/$(basename "$0"): $1" >&2
    exit 2
}

# The first of $PYTHON, python3, python3.13, 3.12, 3.11 that is new enough; if $PYTHON is set, only that one.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    if [[ -n "${PYTHON:-}" ]]; then
        fail "PYTHON=$PYTHON is not a Python of version 3.11 or newer"
    fi
    fail "Python 3.11 or newer is needed, and none was found; name one with PYTHON=/path/to/python3"
}

ensure_environment() {
    local python stamp wanted
    if [[ ! -x "$VENV/bin/python" ]]; then
        python="$(find_python)"
        echo "Making $VENV with $("$python" --version)"
        if ! "$python" -m venv "$VENV"; then
            rm -rf "$VENV"
            fail "this Python cannot make environments; install its venv module (on Debian: apt install python3-venv)"
        fi
    fi
    stamp="$VENV/.installed-for"
    # The extra and the folder count as well: a checkout that was moved has to be installed again.
    wanted="$ROOT test $(cksum < "$ROOT/pyproject.toml")"
    if [[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]]; then
        echo "Installing mixup-lab and what it needs into .venv; the first time this downloads torch, which takes minutes"
        (cd "$ROOT" && "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[test]')
        echo "$wanted" > "$stamp"
    fi
    export PATH="$VENV/bin:$PATH"
}

ensure_environment
