//! How long a process was ready to run and did not: time in which other programs had its CPUs.
//!
//! Linux counts it for each thread, the second field of `/proc/PID/task/TID/schedstat`. It is what a busy host adds to a
//! measured time, and no more than that: a process that sleeps, or is slow by itself, gets nothing for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time that all threads of a process and of its descendants have waited for a CPU, so far. Threads that ended are not
/// counted, and nothing is on a Linux that keeps no such counts.
pub fn waited(process: u32) -> Duration {
    threads(process).iter().map(|thread| of_thread(thread) + descendants(thread)).sum()
}

fn threads(process: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

fn of_thread(thread: &Path) -> Duration {
    let counts = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let waited = counts.split_whitespace().nth(1).and_then(|count| count.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

fn descendants(thread: &Path) -> Duration {
    let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).map(waited).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process_group};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::thread::sleep;
    use std::time::Instant;

    /// A shell with a process group of its own, bound to one CPU.
    struct Shell(Child);

    impl Shell {
        fn start(script: &str) -> Shell {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let usable = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            let first = usable.trim().split([',', '-']).next().unwrap();
            let mut command = Command::new("taskset");
            Shell(command.args(["-c", first, "sh", "-c", script]).process_group(0).spawn().unwrap())
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }

    #[test]
    fn whoever_shares_a_cpu_waits_and_so_do_descendants() {
        let began = Instant::now();
        let shell = Shell::start("while :; do :; done & while :; do :; done");
        let process = shell.0.id();
        let own = || threads(process).iter().map(|thread| of_thread(thread)).sum::<Duration>();
        while own().is_zero() || waited(process) < own() + Duration::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(10), "two that share a CPU never waited for it");
            sleep(Duration::from_millis(5));
        }
        assert!(waited(process) < 2 * began.elapsed(), "two cannot wait longer than they live");
    }

    #[test]
    fn whoever_sleeps_does_not() {
        let shell = Shell::start("exec sleep 10");
        sleep(Duration::from_millis(300));
        assert!(waited(shell.0.id()) < Duration::from_millis(200));
    }
}
