#!/usr/bin/env bash
# Install, lint, type-check and test: ./test.sh [--unit | --chaos [--minutes N] [--seed S]] [pytest arguments]
# Without --unit the whole system is deployed too, on other ports and in a throw-away folder, and stopped again.
# --chaos: the chaos suite alone, for ten minutes of faults and kills.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
chosen=(-m "not chaos")
case "${1:-}" in
  --unit) shift; chosen=(-m "not integration and not chaos") ;;
  --chaos) shift; chosen=(tests/chaos tests/integration/test_twice_delivered.py --minutes 10) ;;
esac
python3 -m deployment.install python-environment
source .venv/bin/activate
ruff check .
ruff format --check .
mypy
lint-imports
for script in ./*.sh .ci/run; do bash -n "$script"; done
exec pytest "${chosen[@]}" "$@"
