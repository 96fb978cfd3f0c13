# SPDX-License-Identifier: MIT
# For scripts that boot Linux in guests and turn what these say into TAP. Sourced; $log is the run's log, $dir where reports are.
# shellcheck shell=bash disable=SC2154 # log and dir are the script's

# result NAME STATUS: one TAP line, without a number
result() {
    if [ "$2" -eq 0 ]; then
        echo "ok - $1"
    else
        tail -n 15 "$log" | sed 's/^/# /'
        echo "not ok - $1"
    fi
}

# The guest's own results; with several guests each line says whose it is.
guest_results() {
    sed -E -n 's/\r//g; s/^guest [0-9]+: ((not )?ok |1\.\.|#)/\1/; /^((not )?ok - |1\.\.[0-9]|# )/p' "$log"
}

# report RUN ...: $dir/RUN.tap of each, as one with numbers. Exit status 0 when nothing failed.
report() {
    local number=0 failed=0 planned=0 run line

    for run; do
        while read -r line; do
            case $line in
            "ok - "* | "not ok - "*)
                number=$((number + 1))
                [ "${line%% - *}" = ok ] || failed=1
                echo "${line%% - *} $number - ${line#* - }"
                ;;
            1..*) planned=$((planned + ${line#1..})) ;;
            *) echo "$line" ;;
            esac
        done <"$dir/$run.tap"
    done
    echo "1..$planned"
    return $failed
}
