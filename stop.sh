#!/usr/bin/env bash
# Stop everything that deploy.sh started, in good order; the data stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ ! -x .venv/bin/python ]; then
  echo "Nothing is running: nothing is installed."
  exit
fi
exec .venv/bin/python -m deployment.stop
