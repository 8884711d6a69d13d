#!/usr/bin/env bash
# Creates a kind cluster with Flux, a git host, podinfo in dev and prod, and the controller. Run again, it goes on where it ended.
# Needs docker, kind, kubectl, flux, git, openssl and curl.
set -euo pipefail
cd "$(dirname "$0")"
source ./common.sh
mkdir -p "$work"

for program in docker kind kubectl flux git openssl curl; do
  command -v "$program" > /dev/null || { echo "$program is missing; README.md says where it comes from" >&2; exit 1; }
done

say "cluster $cluster"
kind get clusters | grep -qx "$cluster" || kind create cluster --name "$cluster" --wait 2m

say "Flux"
flux --context "$context" check > /dev/null 2>&1 || flux --context "$context" install

say "the controller"
image=$(kubectl kustomize "$repository/deploy/kustomize/base" | sed -n 's/^ *image: *//p' | head -n 1)
docker image inspect "$image" > /dev/null 2>&1 || docker build -t "$image" "$repository"
kind load docker-image --name "$cluster" "$image"
kube apply --server-side -k "$repository/deploy/kustomize/base"

say "Gitea"
if [ ! -f "$work/tls.crt" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=gitea -keyout "$work/tls.key" -out "$work/tls.crt" \
    -addext subjectAltName=DNS:gitea.gitea.svc.cluster.local,DNS:localhost 2> /dev/null
fi
kube create namespace gitea --dry-run=client -o yaml | kube apply -f - > /dev/null
kube -n gitea create secret tls tls --cert "$work/tls.crt" --key "$work/tls.key" --dry-run=client -o yaml | kube apply -f - > /dev/null
kube apply -f gitea.yaml
kube -n gitea rollout status deployment/gitea --timeout 5m
if [ ! -f "$work/token" ]; then
  in_gitea() { kube -n gitea exec deployment/gitea -- gitea "$@"; }
  in_gitea admin user create --username demo --password "$password" --email demo@example.com --must-change-password=false
  in_gitea admin user generate-access-token --username demo --token-name demo --scopes all --raw > "$work/token.new"
  mv "$work/token.new" "$work/token"
fi

say "the repository"
if [ ! -d "$work/fleet" ]; then
  rm -rf "$work/fleet.new"
  cp -r fleet "$work/fleet.new"
  git -C "$work/fleet.new" init -q -b main
  git -C "$work/fleet.new" add .
  commit "$work/fleet.new" "podinfo in dev and prod"
  with_gitea push "$work/fleet.new"
  mv "$work/fleet.new" "$work/fleet"
fi

say "podinfo and its Pipeline"
for namespace in default flux-system; do
  kube -n "$namespace" create secret generic fleet --from-literal=username=demo --from-literal=password="$(cat "$work/token")" \
    --from-literal=token="$(cat "$work/token")" --from-file=ca.crt="$work/tls.crt" --dry-run=client -o yaml | kube apply -f - > /dev/null
done
kube apply -f flux.yaml -f pipeline.yaml
kube -n flux-system rollout status deployment/pipeline-controller --timeout 2m
kube -n flux-system wait kustomization/dev kustomization/prod --for=condition=Ready --timeout 5m
for environment in dev prod; do
  kube -n "podinfo-$environment" wait helmrelease/podinfo --for=condition=Ready --timeout 5m
done
kube wait pipeline/podinfo --for=condition=Ready --timeout 1m
kube get pipeline podinfo
echo
echo "Now promote: ./promote.sh 6.9.1"
