#!/bin/sh
# A busybox ash script that uses what shell scripts use, checks itself, and prints KTAP.
# Run as: busybox sh shell.sh. Needs the usual applets in PATH and a writable /tmp.

count=0
failures=0
work=/tmp/shell-acceptance-$$
rm -rf "$work"
mkdir -p "$work" || exit 1
cd "$work" || exit 1

# check NAME EXPECTED GOT
check() {
    count=$((count + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $count $1"
    else
        failures=$((failures + 1))
        echo "not ok $count $1 # why: expected '$(echo "$2" | tr '\n' '~')', got '$(echo "$3" | tr '\n' '~')'"
    fi
}

echo "KTAP version 1"
echo "1..40"

# Expansion and arithmetic.
check "arithmetic" "42 7 1" "$((6 * 7)) $((15 >> 1)) $((3 > 2))"
value=/usr/lib/name.tar.gz
check "parameter expansion" "name.tar.gz /usr/lib name 20" "${value##*/} ${value%/*} $(basename "$value" .tar.gz) ${#value}"
check "defaults" "none set alternative" "${nothing:-none} ${value:+set} ${nothing:=alternative}"
check "command substitution, nested" "inner outer" "$(echo "$(echo inner) outer")"
set -- one "two three" four
check "positional parameters" "3 two three" "$# $2"
check "quoting in a loop" "[one][two three][four]" "$(for word in "$@"; do printf '[%s]' "$word"; done)"
touch a1 a2 b1
check "file name patterns" "a1 a2 b1" "$(echo [ab]*)"
check "case" "vowel" "$(case e in [aeiou]) echo vowel ;; *) echo other ;; esac)"

# Functions and control.
factorial() { if [ "$1" -le 1 ]; then echo 1; else echo $(($1 * $(factorial $(($1 - 1))))); fi; }
check "a recursive function" "5040" "$(factorial 7)"
check "while, break, continue" "1 2 4 " "$(i=0; while :; do i=$((i + 1)); [ $i = 3 ] && continue; [ $i = 5 ] && break; printf '%s ' $i; done)"
check "exit status of a subshell" "3" "$( (exit 3); echo $? )"
check "and, or, not" "yes" "$(false || ! false && echo yes)"

# Pipes and redirection.
check "a pipe of five" "3 c" "$(printf 'c\nb\na\nc\nc\n' | sort | uniq -c | sort -rn | head -n 1 | awk '{print $1, $2}')"
check "the status of a pipe is its last" "0 1" "$(false | true; a=$?; true | false; echo $a $?)"
yes gnomon 2>/dev/null | head -n 20000 > many
check "yes into head" "20000 140000" "$(wc -l < many | tr -d ' ') $(wc -c < many | tr -d ' ')"
check "a here-document" "value is $value, sum 3" "$(cat <<END
value is $value, sum $((1 + 2))
END
)"
check "a quoted here-document" 'value is $value' "$(cat <<'END'
value is $value
END
)"
check "a here-document into a loop" "1:a 2:b " "$(n=0; while read -r line; do n=$((n + 1)); printf '%s:%s ' $n "$line"; done <<END
a
b
END
)"
{ echo out; echo err >&2; } > both 2>&1
check "redirection of both streams" "out
err" "$(cat both)"
exec 5> five; echo "through five" >&5; exec 5>&-
check "a descriptor of one's own" "through five" "$(cat five)"
echo first > append; echo second >> append
check "appending" "first second" "$(tr '\n' ' ' < append | sed 's/ $//')"
check "noclobber" "kept" "$(echo kept > clobber; (set -C; echo lost > clobber) 2>/dev/null; cat clobber)"

# Jobs, signals, traps.
sleep 0.2 & one=$!
(exit 9) & two=$!
wait $two; status=$?
wait $one
check "background jobs and wait" "9 0" "$status $?"
check "a job killed by a signal" "143" "$(sleep 30 & kill -TERM $!; wait $! 2>/dev/null; echo $?)"
check "trap on a signal" "caught go on" "$(sh -c 'trap "echo caught" USR1; kill -USR1 $$; echo go on' | tr '\n' ' ' | sed 's/ $//')"
check "trap on exit" "work bye" "$(sh -c 'trap "echo bye" EXIT; echo work' | tr '\n' ' ' | sed 's/ $//')"
check "a timeout" "143" "$(timeout 1 sleep 20; echo $?)"
check "a pipe broken early ends its writer" "1" "$(seq 1 1000000 | head -n 1)"

# Tools.
mkdir -p tree/one/two; echo alpha > tree/one/a.txt; echo beta > tree/one/two/b.txt; ln -s a.txt tree/one/link
check "find" "tree/one/a.txt tree/one/two/b.txt" "$(find tree -name '*.txt' -type f | sort | tr '\n' ' ' | sed 's/ $//')"
check "find with exec" "2" "$(find tree -type f -exec cat {} \; | wc -l | tr -d ' ')"
check "sed" "one TWO-two" "$(echo 'one two' | sed -e 's/two/TWO-&/' -e '/nothing/d')"
check "awk" "6 b" "$(printf 'a 1\nb 2\nc 3\n' | awk '{sum += $2} NR == 2 {name = $1} END {print sum, name}')"
check "grep" "2:beta" "$(printf 'alpha\nbeta\n' | grep -n '^b.*a$')"
tar cf tree.tar tree && mkdir out && tar xf tree.tar -C out
check "tar there and back" "beta a.txt" "$(cat out/tree/one/two/b.txt) $(readlink out/tree/one/link)"
gzip -c many > many.gz && gunzip -c many.gz | cmp - many
check "gzip there and back" "0" "$?"
check "cp, mv, rm" "gone kept" "$(cp -r tree copy; mv copy moved; rm -r moved/one; [ -e moved/one ] || printf 'gone '; [ -d moved ] && echo kept)"
check "modes of files" "-rwxr-x---" "$(chmod 750 a1; ls -l a1 | cut -c 1-10)"
check "ps shows this shell" "yes" "$(ps | grep -q "^ *$$ " && echo yes)"
check "date, from seconds" "2001-09-09 01:46:40" "$(TZ=UTC date -d @1000000000 '+%Y-%m-%d %H:%M:%S')"
check "checksums" "b1946ac92492d2347c6235b4d2611184" "$(echo hello | md5sum | cut -d ' ' -f 1)"

cd /
rm -rf "$work"
[ "$failures" = 0 ]
