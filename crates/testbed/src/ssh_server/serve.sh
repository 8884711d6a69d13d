# Runs the git command that a client asks for, as written, but with the folder $1 for the / that its path begins with.
# $2 and $3 say what goes wrong.
cd "$1" || exit 1
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
command=$(printf '%s' "$SSH_ORIGINAL_COMMAND" | sed "1s#^\(git-[a-z-]*\) '/#\1 './#")
noise() { yes 'noise on standard error' | head -c "$1" >&2; }
exec 3<&0
case $2 in
git) exec bash -c "$command" ;;
end)
    exec 4< <(exec bash -c "$command" <&3 2>/dev/null)
    stdbuf -o0 head -c "$3" <&4
    # It holds the channel open.
    kill $!
    echo 'the server is going away' >&2
    exit 7
    ;;
hang)
    stdbuf -o0 head -c "$3" < <(exec bash -c "$command" <&3 2>/dev/null)
    exec cat >/dev/null
    ;;
before)
    noise "$3"
    exec bash -c "$command"
    ;;
meanwhile)
    noise "$3" &
    bash -c "$command" <&3
    status=$?
    wait
    exit "$status"
    ;;
esac
