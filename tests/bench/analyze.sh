#!/usr/bin/env bash
# media.analyze over `ffmpeg -an -f null -` of the same clip: a minute of 1080p H.264 with AAC, made once and kept beside the build.
# Prints "analyze RATIO" and a verdict: at most 1.10.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build}
export TALOS_WORKER=${TALOS_WORKER:-$BUILD/talos-worker}
clip=$BUILD/tests/bench/analyze.mp4
if [ ! -s "$clip" ]; then
    mkdir -p "$(dirname "$clip")"
    ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=1920x1080:r=24:d=60 \
        -f lavfi -i "aevalsrc='0.3*sin(2*PI*440*t)*(0.6+0.4*sin(2*PI*2*t))|0.3*sin(2*PI*330*t)':s=48000:d=60" \
        -vf noise=alls=6:allf=t,format=yuv420p -c:v libx264 -preset veryfast -crf 24 -c:a aac -b:a 128k -f mp4 "$clip.part"
    mv "$clip.part" "$clip"
fi
printed=$("$BUILD/tests/bench/analyze" "$clip" "${ROUNDS:-3}")
echo "$printed"
awk '$1 == "analyze" { print "verdict", ($2 <= 1.10 ? "ok" : "MISSED"), "(at most 1.10)" }' <<<"$printed"
