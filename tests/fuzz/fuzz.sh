#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs fuzzers one after the other, each for so many seconds: a line of progress now and then, a result for each, exit
# status 0 when none has found anything. What they find and what they have learnt stays beside them.
#
#   tests/fuzz/fuzz.sh SECONDS build/fuzz/fuzz_NAME ...
set -u

seconds=$1
shift
failed=0
number=0

progress() { # LOG PID NAME: until the fuzzer has ended
    while kill -0 "$2" 2>/dev/null; do
        sleep 5
        line=$(grep -E '^#[0-9]+' "$1" | tail -n 1 | tr -s '\t ' ' ' | cut -d' ' -f1-6)
        [ -z "$line" ] || echo "# $3: ${line#\#} inputs and coverage so far"
    done
}

echo "1..$#"
for fuzzer; do
    name=${fuzzer##*/}
    corpus=$fuzzer.corpus log=$fuzzer.log
    mkdir -p "$corpus"
    number=$((number + 1))
    "$fuzzer" -max_total_time="$seconds" -max_len=768 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$fuzzer-" "$corpus" >"$log" 2>&1 &
    pid=$!
    progress "$log" $pid "$name" &
    watcher=$!
    wait $pid
    status=$?
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ $status -eq 0 ]; then
        echo "ok $number - $name: ${runs:-?} inputs in $seconds seconds, nothing found"
        continue
    fi
    failed=1
    echo "not ok $number - $name: exit status $status"
    grep -E 'broken:|ERROR:|SUMMARY:|runtime error:' "$log" | head -n 5 | sed 's/^/#   /'
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "#   log: $log; again: $fuzzer ${input:-INPUT}"
done
exit $failed
