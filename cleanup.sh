#!/usr/bin/env bash
# Stop everything and remove its data, asking first: ./cleanup.sh [--all] [--yes]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
./stop.sh
exec python3 -m deployment.cleanup "$@"
