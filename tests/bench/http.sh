#!/bin/bash
# Requests a second of GET /api/v1/runs/{id} over nginx serving a file of the same size, one core each, the load on the other core. Rates are
# requests by CPU seconds of the server: what one core does when nothing else wants it, whatever else runs meanwhile. Prints both, and "http RATIO".
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
talos=${TALOS_BIN:-${BUILD:-$root/build}/talos}
seconds=${SECONDS_EACH:-1}
for tool in wrk nginx taskset curl pgrep; do
    command -v $tool >/dev/null || { echo "http: $tool is missing (apt-get install wrk nginx-light util-linux curl)" >&2; exit 2; }
done
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT

free_port() { node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
value() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }
wait_for() { for _ in $(seq 200); do curl -sf -o /dev/null -m 1 "$1" && return; sleep 0.05; done; echo "http: $1 does not answer" >&2; exit 1; }

port=$(free_port)
taskset -c 0 "$talos" serve --data "$dir/data" --listen "127.0.0.1:$port" >"$dir/talos.log" 2>&1 &
pids+=($!)
wait_for "http://127.0.0.1:$port/healthz"
token=$("$talos" token --data "$dir/data" --sub bench --org bench --role member 2>/dev/null | tail -n 1)
auth="Authorization: Bearer $token"
api="http://127.0.0.1:$port/api/v1"
graph='{"graph":{"nodes":[{"id":"text","type":"input.text","data":{"params":{"text":"A night street in the rain."}}},{"id":"read","type":"text.analyze","data":{}}],"edges":[{"source":"text","sourceHandle":"text","target":"read","targetHandle":"text"}]}}'
canvas=$(curl -sf -H "$auth" -d "$graph" "$api/canvases" | sed 's/"graph".*//' | value id)
run=$(curl -sf -H "$auth" -d '{}' "$api/canvases/$canvas/runs" | value run_id)
curl -sfN -m 30 -H "$auth" "$api/runs/$run/stream" >/dev/null
mkdir "$dir/www"
curl -sf -H "$auth" "$api/runs/$run" >"$dir/www/run.json"

port2=$(free_port)
# As Debian sets it up, but without an access log: talos keeps none either.
cat >"$dir/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { worker_connections 768; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    types { application/json json; }
    client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
    server { listen 127.0.0.1:$port2; root $dir/www; }
}
CONF
chmod 755 "$dir" "$dir/www"
taskset -c 0 nginx -c "$dir/nginx.conf" >"$dir/nginx.out" 2>&1 &
pids+=($!)
wait_for "http://127.0.0.1:$port2/run.json"

# CPU seconds that a process has used so far.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"; }
# Requests of one round, and the CPU seconds that the server needed for them: "N CPU".
round() {
    local before after n
    before=$(cpu "$2")
    n=$(taskset -c 1 wrk -t1 -c32 -d"${seconds}s" -H "$auth" "$1" | sed -n 's/ *\([0-9]*\) requests in .*/\1/p')
    after=$(cpu "$2")
    echo "$n $before $after"
}
worker=$(pgrep -P "${pids[1]}" | head -n 1)
for _ in 1 2 3 4 5; do
    echo "nginx $(round "http://127.0.0.1:$port2/run.json" "$worker")"
    echo "talos $(round "$api/runs/$run" "${pids[0]}")"
done | awk -v bytes="$(stat -c %s "$dir/www/run.json")" '
    { n[$1] += $2; cpu[$1] += $4 - $3 }
    END {
        a = n["nginx"] / cpu["nginx"]; b = n["talos"] / cpu["talos"]
        printf "# GET run (%d bytes), requests a second of one core: talos %.0f, nginx %.0f; at least 0.5: %s\n", bytes, b, a, (b / a >= 0.5) ? "ok" : "MISSED"
        printf "http %.3f\n", b / a
    }'
