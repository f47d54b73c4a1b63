//! What is done to a process through a descriptor or by a thread's number: pidfds, queued signals, robust lists, execveat.

use super::signals::{bit, own_id};
use super::support::{become_nobody, c, needs_root, output_of};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process::{self, Status};
use crate::system::time::{self, SECOND};

fn pidfd(process: i32) -> Result<Descriptor, Why> {
    Ok(Descriptor(call!(libc::SYS_pidfd_open, process, 0).step("pidfd_open")? as i32))
}

/// A child that does nothing until it is ended.
fn sleeper() -> Result<i32, Errno> {
    process::spawn(|| {
        time::sleep(30 * SECOND);
        0
    })
}

fn end(child: i32) -> Result<Status, Errno> {
    call!(libc::SYS_kill, child, libc::SIGKILL)?;
    process::wait(child)
}

/// The start of a siginfo as rt_sigqueueinfo(2) takes it: signal, error, code, padding, process, user, value.
fn information(signal: i32, code: i32, value: i32) -> [i32; 32] {
    let mut words = [0; 32];
    (words[0], words[2], words[4], words[6]) = (signal, code, own_id(), value);
    words
}

/// Holds a signal back, and takes it when it is there: its code and value.
fn taken(signal: i32, act: impl FnOnce() -> Outcome) -> Result<(i32, i32), Why> {
    let set = bit(signal);
    call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, 0usize, 8usize).step("rt_sigprocmask")?;
    act()?;
    let mut words = [0i32; 32];
    call!(libc::SYS_rt_sigtimedwait, &set, &mut words, &time::timespec(5 * SECOND), 8usize)
        .step("the signal")?;
    Ok((words[2], words[6]))
}

pub fn cases(plan: &mut Plan) {
    plan.case("pidfd_send_signal: a signal to whom the descriptor means, with details if given", || {
        let own = pidfd(own_id())?;
        let send = |descriptor: &Descriptor, signal: i32, words: Option<&[i32; 32]>, flags: u32| {
            let words = words.map_or(std::ptr::null(), |words| words.as_ptr());
            call!(libc::SYS_pidfd_send_signal, descriptor.0, signal, words, flags).map(|_| ())
        };
        let plain = taken(libc::SIGUSR1, || send(&own, libc::SIGUSR1, None, 0).step("sending"))?;
        equal("code", plain.0, 0)?;
        let words = information(libc::SIGUSR1, -1, 77);
        let queued = taken(libc::SIGUSR1, || send(&own, libc::SIGUSR1, Some(&words), 0).step("queueing"))?;
        equal("code and value", queued, (-1, 77))?;
        refused("another signal's", send(&own, libc::SIGUSR2, Some(&words), 0), Errno::EINVAL)?;
        refused("an unknown flag", send(&own, 0, None, 1 << 10), Errno::EINVAL)?;
        let (pipe, _other) = process::pipe()?;
        refused("no pidfd", send(&Descriptor(pipe), 0, None, 0), Errno::EBADF)?;
        let child = sleeper()?;
        let theirs = pidfd(child)?;
        send(&theirs, libc::SIGTERM, None, 0).step("to a child")?;
        equal("how it ended", process::wait(child)?, Status::Killed(libc::SIGTERM))?;
        refused("after its end", send(&theirs, 0, None, 0), Errno::ESRCH)
    });
    plan.case("pidfd_getfd: a copy of another process' descriptor, for who may look into it", || {
        needs_root()?;
        let (ours, theirs) = process::pipe()?;
        let (ready, tell) = process::pipe()?;
        let child = process::spawn(|| {
            // What is only here: the writing end, under a number of its own.
            let _ = call!(libc::SYS_dup3, theirs, 55, 0);
            process::send_byte(tell);
            time::sleep(30 * SECOND);
            0
        })?;
        process::close(theirs);
        holds(process::await_byte(ready), || "the child did not begin".into())?;
        let child_fd = pidfd(child)?;
        let get = |number: i32, flags: u32| call!(libc::SYS_pidfd_getfd, child_fd.0, number, flags);
        let copy = Descriptor(get(55, 0).step("pidfd_getfd")? as i32);
        copy.write(b"through it")?;
        let mut bytes = [0; 10];
        Descriptor(ours).read(&mut bytes)?;
        equal("what came", &bytes, b"through it")?;
        equal("close-on-exec", call!(libc::SYS_fcntl, copy.0, libc::F_GETFD), Ok(1))?;
        refused("not open there", get(987, 0), Errno::EBADF)?;
        refused("flags", get(55, 1), Errno::EINVAL)?;
        refused("no pidfd", call!(libc::SYS_pidfd_getfd, copy.0, 55, 0), Errno::EBADF)?;
        in_child(|| {
            become_nobody()?;
            refused("as nobody", get(55, 0), Errno::EPERM)
        })?;
        end(child)?;
        refused("after its end", get(55, 0), Errno::ESRCH)
    });
    plan.case("rt_tgsigqueueinfo: a value for one thread", || {
        let queue = |process: i32, thread: i32, words: &[i32; 32]| {
            call!(libc::SYS_rt_tgsigqueueinfo, process, thread, libc::SIGUSR2, words).map(|_| ())
        };
        let words = information(libc::SIGUSR2, -1, 99);
        let came = taken(libc::SIGUSR2, || queue(own_id(), own_id(), &words).step("rt_tgsigqueueinfo"))?;
        equal("code and value", came, (-1, 99))?;
        refused("another process' thread", queue(1, own_id(), &words), Errno::ESRCH)?;
        refused("no thread", queue(own_id(), 0, &words), Errno::EINVAL)?;
        // A code of 0 or above is the kernel's to give, but for oneself.
        let child = sleeper()?;
        refused("the kernel's code", queue(child, child, &information(libc::SIGUSR2, 0, 1)), Errno::EPERM)?;
        equal("how it ended", end(child)?, Status::Killed(libc::SIGKILL))
    });
    plan.case("get_robust_list: what set_robust_list said, for one's own thread or for another's", || {
        needs_root()?;
        let get = |thread: i32| {
            let (mut head, mut size) = (0usize, 0usize);
            call!(libc::SYS_get_robust_list, thread, &mut head, &mut size).map(|_| (head, size))
        };
        let head = [0usize; 3];
        call!(libc::SYS_set_robust_list, &head, 24usize).step("set_robust_list")?;
        let address = std::ptr::from_ref(&head) as usize;
        equal("one's own", get(0), Ok((address, 24)))?;
        let parent = own_id();
        let child = Running::start(|| {
            equal("the parent's", get(parent), Ok((address, 24)))?;
            become_nobody()?;
            refused("as nobody", get(parent), Errno::EPERM)
        })?;
        child.finish()?;
        refused("nobody's", get(4_000_000), Errno::ESRCH)?;
        refused("a wrong size", call!(libc::SYS_set_robust_list, &head, 23usize), Errno::EINVAL)
    });
    plan.case("execveat: a name in an open directory, or the very file that is open", || {
        let execveat = |directory: i32, name: &str, flags: i32| {
            let words = ["first", super::helper::NAME, "link", "/proc/self/comm"].map(c);
            let mut arguments: Vec<usize> = words[1..].iter().map(|word| word.as_ptr() as usize).collect();
            arguments.push(0);
            let name = c(name);
            call!(libc::SYS_execveat, directory, name.as_c_str(), arguments.as_ptr(), &[0usize], flags)
        };
        let path = file::readlink("/proc/self/exe").step("readlink")?;
        let (folder, name) = path.rsplit_once('/').step("a path")?;
        let folder = Descriptor::open(&format!("{folder}/"), libc::O_DIRECTORY).step("the directory")?;
        let program = Descriptor::open(&path, libc::O_PATH).step("the file")?;
        let ran = |directory: i32, name: &str, flags: i32| {
            output_of(|| {
                crate::say!("execveat: {:?}", execveat(directory, name, flags));
                1
            })
        };
        // The helper prints where /proc/self/comm leads: nowhere, an empty line.
        equal("by its name", ran(folder.0, name, 0)?, "\n".into())?;
        equal("the open file", ran(program.0, "", libc::AT_EMPTY_PATH)?, "\n".into())?;
        refused("no name and no flag", execveat(program.0, "", 0), Errno::ENOENT)?;
        refused("a name in a file", execveat(program.0, "x", 0), Errno::ENOTDIR)?;
        refused("no descriptor", execveat(987, "x", 0), Errno::EBADF)?;
        refused("an unknown flag", execveat(folder.0, name, 1), Errno::EINVAL)?;
        refused("a link", execveat(-100, "/proc/self/exe", libc::AT_SYMLINK_NOFOLLOW), Errno::ELOOP)
    });
}
