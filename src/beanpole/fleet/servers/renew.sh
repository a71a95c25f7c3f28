# Restarts an agent that has no job, so that it runs the present program. What it keeps running goes on. One that is
# just handing a port over is left in peace, too: processes of a unit that it has stopped for a moment would end.
# $1: its unit  $2: its home
set -eu
# The beginning of a job's record, as the agent writes it.
if grep -qs '^{"key":"[^"]*","kind":"[a-z]*","state":"running"' "$2"/jobs/*.json ||
    grep -Eqs '"state":"(switching|returning)"' "$2/takeover.json"; then
    echo '@ busy'
else
    systemctl restart "$1"
    echo '@ restarted'
fi
