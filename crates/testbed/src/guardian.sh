# Runs "$@" and ends it, with all of its process group, when the other end of standard input is closed: that is when the
# parent lets go of it or dies, in whatever way. Lines on standard input are names of signals to pass on.
# Reports the child's process id and later its exit code on standard output; the child's output goes to standard error.
exec 3<&0 </dev/null
"$@" >&2 3<&- &
child=$!
echo "$child"
{
    while read -r signal; do kill -s "$signal" "$child"; done <&3
    kill -s KILL "$child"
} >&2 2>/dev/null &
exec 3<&-
wait "$child"
echo "$?"
kill -s KILL 0
