#!/usr/bin/env bash
# Deletes the cluster and everything that up.sh made.
set -euo pipefail
cd "$(dirname "$0")"
source ./common.sh
kind delete cluster --name "$cluster"
rm -rf "$work"
