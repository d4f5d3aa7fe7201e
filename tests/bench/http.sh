#!/bin/bash
# Requests a second of GET /api/v1/runs/{id} over nginx serving a file of the same size, one core each, the load on the other core.
# Prints both rates, and the ratio of the best of seven short rounds each (whatever else runs on the machine meanwhile slows some of them) as "http RATIO".
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
talos=${TALOS_BIN:-${BUILD:-$root/build}/talos}
seconds=${SECONDS_EACH:-1}
for tool in wrk nginx taskset curl; do
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
cat >"$dir/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    open_file_cache max=10;
    types { application/json json; }
    client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
    server { listen 127.0.0.1:$port2; root $dir/www; }
}
CONF
chmod 755 "$dir" "$dir/www"
taskset -c 0 nginx -c "$dir/nginx.conf" >"$dir/nginx.out" 2>&1 &
pids+=($!)
wait_for "http://127.0.0.1:$port2/run.json"

rate() { taskset -c 1 wrk -t1 -c32 -d"${seconds}s" -H "$auth" "$1" | sed -n 's/^Requests\/sec: *//p'; }
a=0 b=0
for _ in 1 2 3 4 5 6 7; do
    x=$(rate "http://127.0.0.1:$port2/run.json")
    y=$(rate "$api/runs/$run")
    a=$(awk -v p="$a" -v q="$x" 'BEGIN{print (q > p) ? q : p}')
    b=$(awk -v p="$b" -v q="$y" 'BEGIN{print (q > p) ? q : p}')
done
awk -v a="$a" -v b="$b" -v n="$(stat -c %s "$dir/www/run.json")" 'BEGIN {
    r = b / a
    printf "# GET run (%d bytes): talos %.0f/s, nginx %.0f/s; at least 0.5: %s\n", n, b, a, (r >= 0.5) ? "ok" : "MISSED"
    printf "http %.3f\n", r
}'
