# shellcheck shell=bash disable=SC2034
# What the scripts share; not to be run.
cluster=${CLUSTER:-pipelines}
context=kind-$cluster
password=demo-demo
repository=../..
work=.work/$cluster

say() { printf '\n== %s\n' "$*"; }
kube() { kubectl --context "$context" "$@"; }
commit() { git -C "$1" -c user.name=demo -c user.email=demo@example.com commit -q -m "$2"; }

# push FOLDER, pull FOLDER or merge NUMBER, over a port that is forwarded to Gitea for as long as that takes.
with_gitea() (
  port=${GITEA_PORT:-3000}
  kube -n gitea port-forward service/gitea "$port:3000" > /dev/null &
  trap 'kill $!' EXIT
  request() { curl --silent --show-error --fail --cacert "$work/tls.crt" --user "demo:$password" "$@"; }
  until request --output /dev/null "https://localhost:$port/api/healthz" 2> /dev/null; do sleep 0.2; done
  remote=https://demo:$password@localhost:$port/demo/fleet.git
  export GIT_SSL_CAINFO=$PWD/$work/tls.crt
  case $1 in
    push) git -C "$2" push -q "$remote" main ;;
    pull) git -C "$2" pull -q --ff-only "$remote" main ;;
    merge)
      # Gitea looks for conflicts first, and refuses to merge until then.
      request --retry 20 --retry-delay 1 --retry-all-errors --request POST --json '{"Do": "merge", "delete_branch_after_merge": true}' \
        "https://localhost:$port/api/v1/repos/demo/fleet/pulls/$2/merge"
      ;;
  esac
)
