//! Debian's own programs, unmodified and dynamically linked: what people would type first.

use super::GNOMON;
use super::boot::FIRST_LINE;
use anyhow::{Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::boot::{Boot, Hardware};
use gnomon_tests::failure::skip;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tools::image;
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("debian_programs", &GNOMON, debian_programs)]
}

/// What is typed, and what must be in the answer.
const TYPED: &[(&str, &[&str])] = &[
    // util-linux
    (
        "/usr/bin/unshare --time --monotonic 86400 --boottime 604800 --fork uptime",
        &["up 7 days,", "load average:"],
    ),
    ("nsenter --time=/proc/self/ns/time_for_children uptime", &["up 0 min,"]),
    ("lsns --noheadings -t time -o NS,TYPE,PID", &["4026531834 time    1"]),
    // coreutils
    ("date -u -d @86400 +%F", &["1970-01-02"]),
    ("timeout 0.2 sleep 5; echo $?", &["124"]),
    ("stat -c '%s %F' /etc/hostname", &["7 regular file"]),
    ("ls -ld /tmp", &["drwxrwxrwt"]),
    ("seq 1 300 | shuf --random-source=/bin/bash | sort -n | tail -n 1", &["300"]),
    ("dd if=/dev/zero of=/tmp/zeros bs=1k count=100 2>&1", &["102400 bytes", "100+0 records out"]),
    (
        "echo one > /tmp/grows; (sleep 1; echo two >> /tmp/grows) & timeout 3 tail -s 0.2 -f /tmp/grows 2>/dev/null",
        &["two"],
    ),
    // procps
    ("ps -o comm= -p 1", &["init"]),
    ("uptime", &["up 0 min", "load average:"]),
    ("top -b -n1 | head -n 3", &["top - ", "Tasks:", "%Cpu(s)"]),
    ("free | wc -l; vmstat | tail -n 1 | wc -w", &["3\n17"]),
    // bash
    (
        "bash -c 'shopt -s lastpipe; declare -A a=([x]=1 [y]=2); echo ${#a[@]}; mapfile -t l < <(seq 3); echo ${l[2]}'",
        &["2\n3"],
    ),
    ("bash -ic 'sleep 5 & jobs; kill %1; wait; echo over' 2>&1", &["Running", "over"]),
    // Others
    (
        "python3.11 -c 'import threading,time,subprocess,select; t=threading.Thread(target=time.sleep,args=(.01,)); \
         t.start(); t.join(); print(subprocess.run([\"date\",\"-u\",\"-d\",\"@0\",\"+%Y\"],capture_output=True).stdout, \
         select.select([],[],[],.01), time.clock_gettime(time.CLOCK_BOOTTIME) > 0)'",
        &["b'1970\\n' ([], [], []) True"],
    ),
    (
        "sqlite3 /tmp/a.db 'create table t(x); insert into t values(40),(2); select sum(x) from t;' && sqlite3 /tmp/a.db 'select count(*) from t'",
        &["42\n2"],
    ),
    ("cyclictest -q -l 50 -i 2000 2>/dev/null", &["C:     50"]),
    (
        "stress-ng --timer 1 --timerfd 1 --clock 1 --nanosleep 1 --futex 1 --switch 1 --fork 1 --vdso 1 -t 10 2>&1 | grep -v cpus",
        &["successful run completed"],
    ),
];

fn debian_programs(m: &mut Machine) -> Result<()> {
    let file = match image::debian_archive() {
        Ok(file) => file,
        Err(error) => return skip(format!("Debian's packages are not to be had: {error:#}")),
    };
    m.patience(Duration::from_secs(120));
    let hardware = Hardware { memory_mib: 1024, ..Hardware::default() };
    m.boot(Boot::interactive().archive(Archive::File(file)).hardware(hardware))?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    // Busybox's shell would run its own applets for most of these names.
    m.type_line("export PS1='debian''# '; exec bash --norc --noediting")?;
    m.expect(&format!("debian{PROMPT}"))?;
    for (line, wanted) in TYPED {
        let answer = m.command(line)?;
        for part in *wanted {
            ensure!(answer.contains(part), "{line}\nshould print {part:?} and prints:\n{answer}");
        }
    }
    Ok(())
}
