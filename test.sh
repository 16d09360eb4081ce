#!/usr/bin/env bash
# Install, lint, type-check and test: ./test.sh [--unit] [pytest arguments]
# Without --unit the whole system is deployed too, on other ports and in a throw-away folder, and stopped again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
marked=()
if [ "${1:-}" = --unit ]; then
  shift
  marked=(-m "not integration")
fi
python3 -m deployment.install python-environment
source .venv/bin/activate
ruff check .
ruff format --check .
mypy
lint-imports
for script in ./*.sh .ci/run; do bash -n "$script"; done
exec pytest "${marked[@]}" "$@"
