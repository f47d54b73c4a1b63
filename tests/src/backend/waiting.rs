//! How long a process was ready to run and did not: time in which other programs had its CPUs.
//!
//! Linux counts it for each thread, the second field of `/proc/PID/task/TID/schedstat`. It is what a busy host adds to a
//! measured time, but for the time in which threads of one family wait for each other; so the first field is read too, how
//! long they ran: less than that no machine took. A process that sleeps, or is slow by itself, gets nothing for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What threads have had of the CPUs, and have not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// How long they ran.
    pub ran: Duration,
    /// How long they were ready to run and did not.
    pub waited: Duration,
}

/// The share of all threads of a process and of its descendants, so far. Threads that ended are not counted, and nothing
/// is on a Linux that keeps no such counts.
pub fn share(process: u32) -> Share {
    threads(process)
        .iter()
        .flat_map(|thread| [of_thread(thread), of_descendants(thread)])
        .fold(Share::default(), add)
}

fn add(one: Share, other: Share) -> Share {
    Share { ran: one.ran + other.ran, waited: one.waited + other.waited }
}

fn threads(process: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

fn of_thread(thread: &Path) -> Share {
    let counts = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let mut counts = counts.split_whitespace().map(|count| Duration::from_nanos(count.parse().unwrap_or(0)));
    Share { ran: counts.next().unwrap_or_default(), waited: counts.next().unwrap_or_default() }
}

fn of_descendants(thread: &Path) -> Share {
    let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.map(share).fold(Share::default(), add)
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
        let own = || threads(process).iter().map(|thread| of_thread(thread)).fold(Share::default(), add);
        while own().waited.is_zero() || share(process).waited < own().waited + Duration::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(10), "two that share a CPU never waited for it");
            sleep(Duration::from_millis(5));
        }
        let Share { ran, waited } = share(process);
        assert!(waited < 2 * began.elapsed(), "two cannot wait longer than they live");
        assert!(
            !ran.is_zero() && ran < began.elapsed() + Duration::from_secs(1),
            "one CPU ran them for {ran:?}"
        );
    }

    #[test]
    fn whoever_sleeps_does_not() {
        let shell = Shell::start("exec sleep 10");
        sleep(Duration::from_millis(300));
        assert!(share(shell.0.id()).waited < Duration::from_millis(200));
    }
}
