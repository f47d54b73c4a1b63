//! This host's own Linux as a machine: the archive unpacked into a root of its own, its init as process 1 on a pty.
//!
//! New mount, PID, UTS and IPC namespaces make it faithful where it matters to a program: init is process 1, `reboot`
//! ends the "machine" and not the host (Linux then kills the namespace's init by SIGINT or SIGHUP), mounts and the
//! host name stay inside. The root is switched as an initramfs switches it (`mount --move` and then `chroot`) and not
//! by `chroot` alone: in a changed root Linux refuses to make user namespaces.
//!
//! `/dev` is the host's devtmpfs with the pty bound over `console` and `ttyS0`. An init that mounts devtmpfs there
//! itself is told EBUSY, by which it can see that the work is done; had `/dev` been anything else, its mount would lay
//! the host's real console over ours.

use super::{Backend, Ending, Guest, Share, waiting};
use crate::boot::Boot;
use crate::failure::{Result, skip};
use crate::pty;
use anyhow::Context;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// Arguments of unshare(1): the namespaces, and that nothing outlives the harness.
const NAMESPACES: [&str; 6] = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"];

/// Runs inside the new namespaces: makes the root, enters it, becomes init. `$1` an empty folder, `$2` the archive,
/// `$3` the pty; then the command of env(1) that becomes init.
const ENTER: &str = r#"
set -e
root=$1 archive=$2 console=$3
shift 3
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
busybox cpio -i -d -m < "$archive" 2>/dev/null
mkdir -p dev
mount -t devtmpfs dev dev
[ -e dev/ttyS0 ] || : > dev/ttyS0
mount --bind "$console" dev/console
mount --bind "$console" dev/ttyS0
mount --move . /
# Whoever runs the tests in the background of a script has them ignore ^C, which init would inherit.
exec env -i --default-signal "$@"
"#;

/// The programs Linux tries, in its order, when the command line names none.
const INITS: [&str; 5] = ["/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// The backend.
pub struct Linux;

impl Backend for Linux {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn obstacle(&self) -> Option<String> {
        let tried = Command::new("unshare").args(NAMESPACES).arg("true").stderr(Stdio::piped()).output();
        match tried {
            Err(error) => Some(format!("unshare(1) cannot be started: {error}")),
            Ok(output) if !output.status.success() => Some(format!(
                "making namespaces is not permitted here (it takes CAP_SYS_ADMIN): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Ok(_) => None,
        }
    }

    fn start(&self, boot: &Boot, stem: &Path) -> Result<Box<dyn Guest>> {
        let Some(archive) = boot.archive.file()? else {
            return skip("a process of the host needs files to run on");
        };
        let archive = archive.canonicalize()?;
        let root = stem.with_extension("root");
        std::fs::create_dir_all(&root)?;
        let (ours, theirs, name) = pty::open().context("cannot make a pty")?;
        let mut command = Command::new("setsid");
        command.arg("unshare").args(NAMESPACES).args(["sh", "-c", ENTER, "sh"]);
        command.arg(&root).arg(&archive).arg(&name);
        command.args(["HOME=/", "TERM=linux"]);
        let is_setting = |word: &&String| word.contains('=') && !word.starts_with("loglevel=");
        command.args(boot.words.iter().filter(is_setting));
        command.args(["/usr/sbin/chroot", "."]);
        command.arg(boot.init.unwrap_or_else(|| first_init(&archive))).args(&boot.arguments);
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
        let started = Instant::now();
        let child = command.spawn().context("cannot start setsid(1)")?;
        Ok(Box::new(Native { child, pty: ours, started, root }))
    }
}

/// The first of Linux's choices that is in the archive.
fn first_init(archive: &Path) -> &'static str {
    let bytes = std::fs::read(archive).unwrap_or_default();
    let present: Vec<String> =
        cpio_reader::iter_files(&bytes).map(|entry| entry.name().to_string()).collect();
    let has = |path: &str| present.iter().any(|name| name == path.trim_start_matches('/'));
    INITS.into_iter().find(|path| has(path)).unwrap_or("/init")
}

struct Native {
    child: Child,
    pty: OwnedFd,
    started: Instant,
    root: PathBuf,
}

impl Guest for Native {
    fn started(&self) -> Instant {
        self.started
    }

    fn share(&self) -> Share {
        waiting::share(self.child.id())
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.pty.as_fd()
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.pty.as_fd()
    }

    fn ended(&mut self) -> Result<Option<Ending>> {
        Ok(self.child.try_wait()?.map(ending))
    }

    fn position(&mut self) -> Option<String> {
        None
    }
}

/// unshare(1) ends as its child, the namespace's init, ended: by the same signal or with the same status.
fn ending(status: ExitStatus) -> Ending {
    const SIGHUP: i32 = 1;
    const SIGINT: i32 = 2;
    match (status.signal(), status.code()) {
        (Some(SIGINT), _) => Ending::PoweredOff,
        (Some(SIGHUP), _) => Ending::Restarted,
        (None, Some(code)) => Ending::InitExited(code),
        _ => Ending::Other(format!("init was ended by {status}")),
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // Killing unshare kills the namespace's init (--kill-child) and with it everything inside.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The tree itself lived on a tmpfs that is gone; what is left is the empty folder it was mounted on.
        let _ = std::fs::remove_dir(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart() {
        assert_eq!(ending(ExitStatus::from_raw(2)), Ending::PoweredOff);
        assert_eq!(ending(ExitStatus::from_raw(1)), Ending::Restarted);
        assert_eq!(ending(ExitStatus::from_raw(130 << 8)), Ending::InitExited(130));
        assert!(matches!(ending(ExitStatus::from_raw(9)), Ending::Other(_)));
    }

    #[test]
    fn init_is_chosen_as_linux_chooses() {
        let mut archive = gnomon_tools::archive::Archive::new();
        archive.file("/bin/sh", 0o755, Vec::new()).unwrap();
        let path = crate::results().join("unit").join("inits.cpio");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, archive.to_bytes()).unwrap();
        assert_eq!(first_init(&path), "/bin/sh");
        archive.file("/sbin/init", 0o755, Vec::new()).unwrap();
        std::fs::write(&path, archive.to_bytes()).unwrap();
        assert_eq!(first_init(&path), "/sbin/init");
    }
}
