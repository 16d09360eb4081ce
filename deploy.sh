#!/usr/bin/env bash
# Start everything and return when it is healthy: ./deploy.sh [--demo] [--local|--docker] [--rotate SECRET]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for python in python3 python3.12 python3.11; do
  if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
    exec "$python" -m deployment "$@"
  fi
done
echo "Python 3.11 or 3.12 is needed: install it (Debian: apt-get install python3 python3-venv)." >&2
exit 1
