//! What several selftests need: slots of tasks, shifts of clocks, and temporary files.

use crate::clocks::read_by_vdso;
use crate::ktap::{Outcome, Step, Why, equal, failed, holds, refused};
use crate::system::clocks::{CLOCKS, Clock, Path, Shift};
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace::{self, Offsets};
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::Vdso;
use std::ffi::OsStr;

/// Offsets far from zero and from each other, with nanoseconds.
pub const FAR: Offsets = Offsets { monotonic: 100_000 * SECOND + 250_000_000, boottime: 500_000 * SECOND };

/// The two time-namespace slots of a task, as its links read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slots {
    /// The namespace it is in.
    pub time: String,
    /// The namespace for its children.
    pub children: String,
}

/// The slots of this process (its first thread).
pub fn slots() -> Result<Slots, Why> {
    slots_of("self")
}

/// The slots of `/proc/WHO`.
pub fn slots_of(who: impl std::fmt::Display) -> Result<Slots, Why> {
    let time = file::readlink(&format!("/proc/{who}/ns/time")).step("reading ns/time")?;
    let children =
        file::readlink(&format!("/proc/{who}/ns/time_for_children")).step("reading ns/time_for_children")?;
    Ok(Slots { time, children })
}

/// A case that starts by unsharing: the slots from before, and the new namespace's link.
pub fn unshared() -> Result<(Slots, String), Why> {
    let before = slots()?;
    namespace::unshare().step("unshare(CLONE_NEWTIME)")?;
    Ok((before, slots()?.children))
}

/// Fails unless the caller's pending namespace is frozen: writing to it gives EACCES.
pub fn is_frozen() -> Outcome {
    refused("writing an offset", file::write(namespace::OFFSETS, "monotonic 1 0"), Errno::EACCES)
}

/// Fails unless the caller's pending namespace still takes offsets.
pub fn is_not_frozen() -> Outcome {
    file::write(namespace::OFFSETS, "monotonic 1 0").step("writing an offset")
}

/// How far each clock is from a realtime clock of its kind, taken where the shift is known.
///
/// The realtime clocks are the same in every namespace, so the distance changes exactly by the shift.
pub struct Base {
    distances: Vec<i64>,
}

/// How far a shift may seem off: reading two clocks takes time, and the raw clock drifts.
const TOLERANCE: i64 = 10 * MILLISECOND;

/// The clocks whose shift is measured: those that tell the time of day or since boot.
pub fn measured_clocks() -> impl Iterator<Item = &'static Clock> {
    CLOCKS.iter().filter(|clock| clock.path != Path::SystemCall)
}

impl Base {
    /// Measures here, where the shift counts as zero.
    pub fn take() -> Result<Base, Why> {
        let distances: Result<_, _> =
            measured_clocks().map(|clock| distance(clock, &time::read_by_call)).collect();
        Ok(Base { distances: distances? })
    }

    /// Fails unless every clock is shifted by these offsets (or zero, by its kind), through vDSO and system call.
    pub fn shifted_by(&self, offsets: Offsets) -> Outcome {
        let vdso = Vdso::find().step("the vDSO")?;
        let read = vdso.clock_gettime().step("__vdso_clock_gettime")?;
        for (clock, base) in measured_clocks().zip(&self.distances) {
            let expected = offset_of(clock, offsets);
            for (way, distance) in [
                ("by vDSO", distance(clock, &|id| read_by_vdso(read, id))?),
                ("by system call", distance(clock, &time::read_by_call)?),
            ] {
                let error = distance - base - expected;
                holds(error.abs() <= TOLERANCE, || {
                    format!(
                        "shift of {} {way}: expected {}, got {}",
                        clock.name,
                        time::decimal(expected),
                        time::decimal(distance - base)
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Fails unless nothing is shifted against the place where this base was taken.
    pub fn unshifted(&self) -> Outcome {
        self.shifted_by(Offsets::default())
    }
}

/// The offset that applies to a clock.
pub fn offset_of(clock: &Clock, offsets: Offsets) -> i64 {
    match clock.shift {
        Shift::None => 0,
        Shift::Monotonic => offsets.monotonic,
        Shift::Boottime => offsets.boottime,
    }
}

/// A clock's reading less the realtime clock's (coarse against coarse), from the tightest of several tries.
fn distance(clock: &Clock, read: &dyn Fn(i32) -> Result<i64, Errno>) -> Result<i64, Why> {
    let coarse = clock.path == Path::Coarse;
    let realtime = if coarse { libc::CLOCK_REALTIME_COARSE } else { libc::CLOCK_REALTIME };
    let mut best = (i64::MAX, 0);
    for _ in 0..8 {
        let before = time::read_by_call(realtime)?;
        let reading = read(clock.id).step(clock.name)?;
        let after = time::read_by_call(realtime)?;
        best = best.min((after - before, reading - before - (after - before) / 2));
    }
    Ok(best.1)
}

/// The words of a helper: this binary, run by its path, doing one small thing after an exec. See `helper.rs`.
pub fn helper_words<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["/proc/self/exe", super::helper::NAME], words].concat()
}

/// Runs `prepare` in a forked child, which then becomes the helper with `words`; gives what it printed.
pub fn helper_output(words: &[&str], prepare: impl FnOnce() -> Outcome) -> Result<String, Why> {
    let words = helper_words(words);
    output_of(|| match prepare() {
        Ok(()) => {
            let errno = process::execute(&words);
            crate::say!("cannot execute the helper: {errno}");
            126
        }
        Err(why) => {
            crate::say!("{why:?}");
            125
        }
    })
}

/// Runs `work` in a forked child whose standard output is a pipe; gives what was written there, if it exits with 0.
pub fn output_of(work: impl FnOnce() -> i32) -> Result<String, Why> {
    let (read_end, write_end) = process::pipe()?;
    let child = process::spawn(|| {
        let _ = crate::call!(libc::SYS_dup2, write_end, 1);
        work()
    })?;
    process::close(write_end);
    let text = file::Descriptor(read_end).read_to_end()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    match process::wait(child)? {
        Status::Exited(0) => Ok(text),
        status => failed(format!("a child ended with {status:?}, having said: {}", text.trim_end())),
    }
}

/// Becomes an unprivileged user whose own /proc files belong to it again (a change of ids makes them root's).
pub fn become_nobody() -> Outcome {
    credentials::become_user(credentials::NOBODY).step("giving up root")?;
    crate::call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1).step("prctl(PR_SET_DUMPABLE)")?;
    Ok(())
}

/// Skips the case unless run by root with what a time namespace needs.
pub fn needs_root() -> Outcome {
    let able = credentials::effective_user() == 0
        && credentials::has_capability(credentials::CAP_SYS_ADMIN)
        && credentials::has_capability(credentials::CAP_SYS_TIME);
    if able { Ok(()) } else { crate::ktap::skipped("needs root with CAP_SYS_ADMIN and CAP_SYS_TIME") }
}

/// Skips the case where moving the clock would move somebody else's. To see that Linux does the same, on a machine of one's
/// own: GNOMON_MAY_SET_CLOCK=1.
pub fn may_move_the_clock() -> Outcome {
    if crate::ktap::on_gnomon() || std::env::var_os("GNOMON_MAY_SET_CLOCK").is_some() {
        return Ok(());
    }
    crate::ktap::skipped("would move this machine's clock; GNOMON_MAY_SET_CLOCK=1 allows it")
}

/// Waits until the machine has been up for more than a second: before that an offset of -1 s is out of range.
pub fn a_second_after_boot() -> Outcome {
    let left = SECOND + 100 * MILLISECOND - time::read_by_call(libc::CLOCK_MONOTONIC)?;
    time::sleep(left.max(0));
    Ok(())
}

/// A path under /tmp that no other process uses.
pub fn temporary(name: &str) -> String {
    format!("/tmp/gnomon-{}-{name}", std::process::id())
}

/// A file or directory that is removed at the end.
pub struct Temporary(pub String);

impl Temporary {
    /// An empty file.
    pub fn file(name: &str) -> Result<Temporary, Why> {
        Temporary::with(name, b"", 0o644)
    }

    /// A file with these bytes.
    pub fn with(name: &str, bytes: &[u8], mode: u32) -> Result<Temporary, Why> {
        let path = temporary(name);
        file::create(&path, bytes, mode).step("creating a temporary file")?;
        Ok(Temporary(path))
    }

    /// A directory; remove what is put into it, or it stays.
    pub fn directory(name: &str) -> Result<Temporary, Why> {
        let path = temporary(name);
        let text = process::c_string(&path);
        crate::call!(libc::SYS_mkdir, text.as_c_str(), 0o755).step("making a temporary directory")?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let text = process::c_string(&self.0);
        if crate::call!(libc::SYS_unlink, text.as_c_str()).is_err() {
            let _ = crate::call!(libc::SYS_rmdir, text.as_c_str());
        }
    }
}

/// The text of a C string for a system call.
pub fn c(text: impl AsRef<OsStr>) -> std::ffi::CString {
    process::c_string(text)
}

/// Fails unless the two slots are these.
pub fn slots_are(got: &Slots, time: &str, children: &str) -> Outcome {
    equal("namespaces (now, for children)", (got.time.as_str(), got.children.as_str()), (time, children))
}
