#!/usr/bin/env bash
# Install, lint, type-check and test: ./test.sh [--unit | --docker | --long | --chaos [--minutes N] [--seed S] | --fuzz] [pytest arguments]
# Without --unit the whole system is deployed too, on other ports and in a throw-away folder, each of its services is
# killed, and it is stopped again. --docker: the demo in containers; as root on Debian an engine is installed and started
# (with CI=true without an option too, but for what takes long).
# --long: what needs many more minutes of a deployed system, failure drills too.
# --chaos: a system of its own is disturbed and killed for ten minutes, and then judged. --fuzz: bad input alone, a
# minute for each thing that takes any (--fuzz-seconds N: longer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
chosen=()
case "${1:-}" in
  "") chosen=(-m "not chaos and not long$([ "${CI:-}" = true ] || echo " and not docker")") ;;
  --unit) shift; chosen=(-m "not integration and not docker") ;;
  --docker) shift; set -- -m docker "$@" ;;
  --long) shift; set -- -m "long and not docker" "$@" ;;
  --fuzz) shift; set -- -m bad_input --fuzz-seconds 60 "$@" ;;
  --chaos) shift; set -- tests/chaos tests/integration/test_twice_delivered.py --minutes 10 "$@" ;;
esac
python3 -m deployment.install python-environment chromium
python3 -m deployment.install prometheus || true  # where it cannot be had, its tests are skipped, and say so
python3 -m deployment.install public || true  # the same
python3 -m deployment.install chdb || true  # the same
source .venv/bin/activate
ruff check .
ruff format --check .
mypy
lint-imports
for script in ./*.sh .ci/run; do bash -n "$script"; done
[ $# -gt 0 ] || chosen+=(-n 2 --dist loadscope)  # what wants the whole machine beside what mostly waits: tests/conftest.py
exec pytest "${chosen[@]}" "$@"
