#!/usr/bin/env bash
# Releases a version of podinfo in dev, waits for the pull request that promotes it, merges it, and waits until prod runs it.
# Usage: ./promote.sh VERSION
set -euo pipefail
cd "$(dirname "$0")"
source ./common.sh
version=${1:?usage: ./promote.sh VERSION, for example 6.9.1}

say "podinfo $version in dev"
with_gitea pull "$work/fleet"
sed -i.bak "s/^\( *version:\) .*/\1 $version/" "$work/fleet/dev/podinfo.yaml"
rm "$work/fleet/dev/podinfo.yaml.bak"
if ! git -C "$work/fleet" diff --quiet; then
  git -C "$work/fleet" add dev
  commit "$work/fleet" "podinfo $version in dev"
  with_gitea push "$work/fleet"
fi

promotion=.status.environments.prod.promotion
say "waiting for the pull request"
kube wait pipeline/podinfo --for=jsonpath="{$promotion.revision}=$version" --timeout 10m
kube wait pipeline/podinfo --for=jsonpath="{$promotion.phase}=Open" --timeout 5m
url=$(kube get pipeline podinfo -o jsonpath="{$promotion.url}")
echo "$url"

say "merging it"
with_gitea merge "${url##*/}"

say "waiting for prod"
kube wait pipeline/podinfo --for=jsonpath="{$promotion.phase}=Succeeded" --timeout 10m
kube get pipeline podinfo
