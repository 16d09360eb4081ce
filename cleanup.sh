#!/usr/bin/env bash
# Remove the data of the deployments, asking first, and stopping what runs: ./cleanup.sh [--all] [--yes]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 -m deployment.cleanup "$@"
