#!/usr/bin/env bash
# A live table of services, topics and assets: ./monitor.sh [--once | --json]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ ! -x .venv/bin/crypto ]; then
  echo "Nothing is installed yet: run ./deploy.sh" >&2
  exit 1
fi
case "${1:-}" in
  --once) exec .venv/bin/crypto status ;;
  --json) exec .venv/bin/crypto status --json ;;
  *) exec .venv/bin/crypto status --watch "$@" ;;
esac
