#!/bin/bash
# Followers of one run over SSE and WebSocket against nchan (Debian's nginx module): 1,000 and 5,000 of them, 2 and 16 events in flight, events of about 250 bytes.
# Server on one core, clients on the other, turn by turn. talos writes each event to disk before it is sent; nchan keeps messages in memory. Prints lines for tests/bench/run;
# see fanout_load.c. SECONDS_EACH, ROUNDS, KINDS, FOLLOWERS change what is measured.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${BUILD:-$root/build}/tests/bench
seconds=${SECONDS_EACH:-0.5} rounds=${ROUNDS:-2} bytes=250
module=/usr/lib/nginx/modules/ngx_nchan_module.so
for tool in nginx taskset curl pgrep; do
    command -v $tool >/dev/null || { echo "fanout: $tool is missing (apt-get install nginx-light libnginx-mod-nchan util-linux curl)" >&2; exit 2; }
done
[ -e $module ] || { echo "fanout: nchan is missing (apt-get install libnginx-mod-nchan)" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
[ "$(ulimit -n)" -ge 11000 ] || { echo "fanout: 5,000 followers of each need 11,000 open files; the limit is $(ulimit -n)" >&2; exit 2; }
# Ahead of other work on the machine, where that is allowed: both sides alike.
ahead=
if chrt -f 1 true 2>/dev/null; then ahead="chrt -f 1"; fi
dir=$(mktemp -d)
pids=()
trap 'set +e; [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT

echo "# talos $(cd "$root" && git rev-parse --short HEAD 2>/dev/null || echo '-'), nchan $(dpkg-query -W -f='${Version}' libnginx-mod-nchan), $(nginx -v 2>&1 | sed 's/.*: //'), Linux $(uname -r), $bytes bytes an event, $rounds rounds of $seconds s each"

free_port() { node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
port=$(free_port)
# As nchan's own README sets it up: messages in memory, one worker as talos has one service thread.
cat >"$dir/nginx.conf" <<CONF
load_module $module;
worker_processes 1;
worker_rlimit_nofile $(ulimit -n);
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { worker_connections 8192; }
http {
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
    server {
        listen 127.0.0.1:$port;
        location = /pub { nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 50; nchan_message_timeout 1m; }
        location = /sub { nchan_subscriber websocket eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }
        location = /up { return 204; }
    }
}
CONF
chmod 755 "$dir"

for kind in ${KINDS:-sse ws}; do
    for n in ${FOLLOWERS:-1000 5000}; do
        mkdir "$dir/data"
        mkfifo "$dir/said"
        $ahead taskset -c 0 "$bin/fanout" "$dir/data" $bytes >"$dir/said" &
        talos=$!
        $ahead taskset -c 0 nginx -c "$dir/nginx.conf" >"$dir/nginx.out" 2>&1 &
        nginx=$!
        pids=("$talos" "$nginx")
        read -r talos_port control run token <"$dir/said"
        for _ in $(seq 200); do curl -sf -o /dev/null -m 1 "http://127.0.0.1:$port/up" && break; sleep 0.05; done
        worker=$(pgrep -P "$nginx" | head -n 1)
        $ahead taskset -c 1 "$bin/fanout_load" "$kind" "$n" "$seconds" "$rounds" "$talos_port" "$control" "$run" "$token" "$talos" "$port" "$worker" $bytes
        kill "$nginx"
        wait "$talos" "$nginx" || true
        pids=()
        rm -rf "$dir/data" "$dir/said"
    done
done
