# What bash has beyond a plain shell, each checked against what it must print. KTAP on standard output.

count=0
failures=0
check() { # NAME EXPECTED GOT
    count=$((count + 1))
    if [[ $2 == "$3" ]]; then
        echo "ok $count $1"
    else
        failures=$((failures + 1))
        echo "not ok $count $1 # expected '$2', got '$3'"
    fi
}

echo "KTAP version 1"

# Data.
list=(one "two words" three)
list+=(four)
check "arrays" "4 two words four" "${#list[@]} ${list[1]} ${list[-1]}"
declare -A capital=([France]=Paris [Peru]=Lima)
check "associative arrays" "Lima 2" "${capital[Peru]} ${#capital[@]}"
[[ 2026-11-22 =~ ^([0-9]+)-([0-9]+) ]]
check "regular expressions" "2026 11" "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
text="the quick brown fox"
check "substitution in a variable" "the slow brown fox|QUICK" "${text/quick/slow}|$(tmp=${text#the }; echo "${tmp%% *}" | tr a-z A-Z)"
printf -v padded '%05d' 42
check "printf into a variable" "00042" "$padded"
check "brace expansion" "a1 a2 b1 b2" "$(echo {a,b}{1..2})"

# Pipes, files and descriptors.
mapfile -t lines < <(printf 'x\ny\nz\n')
check "process substitution" "3 z" "${#lines[@]} ${lines[2]}"
check "here-string" "HELLO" "$(tr a-z A-Z <<< hello)"
false | true | false
check "status of each part of a pipe" "1 0 1" "${PIPESTATUS[*]}"
set -o pipefail
true | false | true
check "pipefail" "1" "$?"
set +o pipefail
exec {descriptor}> /tmp/bash-$$
echo written >&"$descriptor"
exec {descriptor}>&-
check "a descriptor of one's own" "written" "$(< /tmp/bash-$$)"
rm /tmp/bash-$$
seq 2000 | { read -r first; check "reading a line leaves the rest" "1 1999" "$first $(wc -l)"; }
count=$((count + 1)) # that check ran in a subshell
coproc UPPER { while read -r word; do echo "${word^^}"; done; }
echo quiet >&"${UPPER[1]}"
read -r answer <&"${UPPER[0]}"
check "a coprocess" "QUIET" "$answer"
upper=$UPPER_PID # the variable goes as soon as the coprocess does
eval "exec ${UPPER[1]}>&-"
wait "$upper"
check "a coprocess ends when its input does" "0" "$?"

# Processes, signals and time.
(exit 7) &
wait $!
check "wait gives the status" "7" "$?"
sleep 30 &
kill -TERM $!
wait $! 2> /dev/null
check "death by a signal" "143" "$?"
caught=no
trap 'caught=yes' USR1
kill -USR1 $$
check "a trap" "yes" "$caught"
trap 'echo ended' EXIT
check "a trap at the end of a subshell" "inner ended" "$(trap 'echo ended' EXIT; echo -n 'inner ')"
trap - EXIT
read -r -t 0.2 never < <(exec sleep 100)
check "a read that times out" "yes" "$([[ $? -gt 128 ]] && echo yes)"
kill $! # what nobody reads from any more would go on
wait $! 2> /dev/null
check "a process substitution is waited for" "143" "$?"
before=${EPOCHREALTIME/./}
sleep 0.1
passed=$((${EPOCHREALTIME/./} - before))
check "sleeping takes its time" "yes" "$([[ $passed -ge 100000 && $passed -lt 20000000 ]] && echo yes || echo $passed)"
total=0
for ((i = 0; i < 10; i++)); do (exit $i) & done
for ((i = 0; i < 10; i++)); do wait -n; total=$((total + $?)); done
check "waiting for whichever ends next" "45" "$total"
check "a deep recursion of subshells" "8" "$(f() { (($1 == 0)) && echo 8 || echo "$(f $(($1 - 1)))"; }; f 8)"

echo "1..$count"
exit $((failures > 0))
