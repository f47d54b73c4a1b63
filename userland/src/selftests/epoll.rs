//! Watching many files at once, epoll(7): what is told, how often, and in which order a call's arguments are judged.

use super::sleeping::{LATE, NAP, interrupter};
use super::timer_files::TimerFile;
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, refused, within};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERROR: u32 = libc::EPOLLERR as u32;
const HANG_UP: u32 = libc::EPOLLHUP as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONE_SHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;

/// An open epoll file.
struct Epoll(Descriptor);

/// Descriptors, or numbers that are none.
trait Number {
    fn number(&self) -> i32;
}

impl Number for Descriptor {
    fn number(&self) -> i32 {
        self.0
    }
}

impl Number for Epoll {
    fn number(&self) -> i32 {
        self.0.0
    }
}

impl Number for i32 {
    fn number(&self) -> i32 {
        *self
    }
}

impl Epoll {
    fn new() -> Result<Epoll, Errno> {
        call!(libc::SYS_epoll_create1, libc::EPOLL_CLOEXEC).map(|number| Epoll(Descriptor(number as i32)))
    }

    /// Adds (1), removes (2) or modifies (3); what is told is the descriptor.
    fn control(&self, operation: i32, file: &impl Number, events: u32) -> Result<usize, Errno> {
        let event = libc::epoll_event { events, u64: file.number() as u64 };
        call!(libc::SYS_epoll_ctl, self.number(), operation, file.number(), &event)
    }

    fn add(&self, file: &impl Number, events: u32) -> Result<usize, Errno> {
        self.control(libc::EPOLL_CTL_ADD, file, events)
    }

    fn modify(&self, file: &impl Number, events: u32) -> Result<usize, Errno> {
        self.control(libc::EPOLL_CTL_MOD, file, events)
    }

    fn remove(&self, file: &impl Number) -> Result<usize, Errno> {
        self.control(libc::EPOLL_CTL_DEL, file, 0)
    }

    /// What is told within so many milliseconds: events and descriptor of each.
    fn wait(&self, limit: i64) -> Result<Vec<(u32, i32)>, Errno> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let count = call!(libc::SYS_epoll_wait, self.number(), &mut events, events.len(), limit)?;
        Ok(events[..count].iter().map(|event| (event.events, event.u64 as i32)).collect())
    }

    /// Fails unless just this is told now.
    fn tells(&self, when: &str, expected: &[(u32, i32)]) -> Outcome {
        equal(when, self.wait(0), Ok(expected.to_vec()))
    }
}

fn pipe() -> Result<(Descriptor, Descriptor), Why> {
    let (read_end, write_end) = process::pipe()?;
    Ok((Descriptor(read_end), Descriptor(write_end)))
}

fn write(file: &Descriptor, count: usize) -> Result<usize, Errno> {
    call!(libc::SYS_write, file.0, &[b'x'; 4096], count)
}

fn read(file: &Descriptor, count: usize) -> Result<usize, Errno> {
    call!(libc::SYS_read, file.0, &mut [0u8; 65536], count)
}

pub fn cases(plan: &mut Plan) {
    plan.case("level: told as long as there is something", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        epoll.add(&reader, IN).step("add")?;
        epoll.tells("empty", &[])?;
        write(&writer, 3)?;
        epoll.tells("written", &[(IN, reader.0)])?;
        epoll.tells("not yet read", &[(IN, reader.0)])?;
        read(&reader, 3)?;
        epoll.tells("read", &[])
    });
    plan.case("edge: told once for each time that something comes, and when set anew", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        epoll.add(&reader, IN | EDGE).step("add")?;
        epoll.tells("empty", &[])?;
        write(&writer, 3)?;
        epoll.tells("written", &[(IN, reader.0)])?;
        epoll.tells("no news", &[])?;
        read(&reader, 1)?;
        epoll.tells("a part was read", &[])?;
        write(&writer, 1)?;
        epoll.tells("more was written", &[(IN, reader.0)])?;
        epoll.modify(&reader, IN | EDGE).step("modify")?;
        epoll.tells("set anew", &[(IN, reader.0)])?;
        drop(writer);
        epoll.tells("nobody writes any more", &[(IN | HANG_UP, reader.0)])?;
        epoll.tells("no news", &[])
    });
    plan.case("edge, of who writes: told when there is room again, not before", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        call!(libc::SYS_fcntl, writer.0, libc::F_SETFL, libc::O_NONBLOCK)?;
        epoll.add(&writer, OUT | EDGE).step("add")?;
        epoll.tells("empty", &[(OUT, writer.0)])?;
        write(&writer, 1)?;
        read(&reader, 1)?;
        epoll.tells("it never was full", &[])?;
        while write(&writer, 4096).is_ok() {}
        epoll.tells("full", &[])?;
        read(&reader, 65536)?;
        epoll.tells("room", &[(OUT, writer.0)])?;
        epoll.tells("no news", &[])
    });
    plan.case("edge, of a counter: both directions at once", || {
        let epoll = Epoll::new()?;
        let counter = Descriptor(call!(libc::SYS_eventfd2, 0, libc::EFD_NONBLOCK)? as i32);
        let add = || call!(libc::SYS_write, counter.0, &1u64, 8);
        epoll.add(&counter, IN | OUT | EDGE).step("add")?;
        epoll.tells("zero", &[(OUT, counter.0)])?;
        add()?;
        epoll.tells("one", &[(IN | OUT, counter.0)])?;
        epoll.tells("no news", &[])?;
        add()?;
        epoll.tells("two", &[(IN | OUT, counter.0)])?;
        read(&counter, 8)?;
        epoll.tells("zero again", &[(OUT, counter.0)])
    });
    plan.case("one shot: told once until set anew", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        epoll.add(&reader, IN | ONE_SHOT).step("add")?;
        write(&writer, 1)?;
        epoll.tells("written", &[(IN, reader.0)])?;
        write(&writer, 1)?;
        epoll.tells("written again", &[])?;
        epoll.modify(&reader, IN | ONE_SHOT).step("modify")?;
        epoll.tells("set anew", &[(IN, reader.0)])?;
        drop(writer);
        epoll.tells("not even of the end", &[])
    });
    plan.case("errors and hang-ups are told without being asked for", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        epoll.add(&reader, 0).step("add")?;
        epoll.add(&writer, 0).step("add")?;
        epoll.tells("nothing", &[])?;
        let number = writer.0;
        epoll.remove(&writer).step("remove")?;
        drop(writer);
        epoll.tells("no writer", &[(HANG_UP, reader.0)])?;
        let (reader, writer) = pipe()?;
        equal("the same number", writer.0 == number || reader.0 == number, true)?;
        epoll.add(&writer, 0).step("add")?;
        drop(reader);
        holds(epoll.wait(0)?.contains(&(ERROR, writer.0)), || "nothing was told of it".into())
    });
    plan.case("several files: each in its turn, however few are asked for at once", || {
        let epoll = Epoll::new()?;
        let pipes: Vec<_> = (0..5).map(|_| pipe()).collect::<Result<_, _>>()?;
        for (reader, writer) in &pipes {
            epoll.add(reader, IN).step("add")?;
            write(writer, 1)?;
        }
        let mut told: Vec<i32> = Vec::new();
        for _ in 0..5 {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            equal("one", call!(libc::SYS_epoll_wait, epoll.number(), &mut event, 1, 0), Ok(1))?;
            told.push(event.u64 as i32);
        }
        equal("told of", told, pipes.iter().map(|(reader, _)| reader.0).collect())
    });
    plan.case("a file leaves when its last descriptor is closed, not before", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        let copy = Descriptor(call!(libc::SYS_dup, reader.0)? as i32);
        epoll.add(&reader, IN).step("add")?;
        write(&writer, 1)?;
        let number = reader.0;
        drop(reader);
        epoll.tells("there is a copy", &[(IN, number)])?;
        drop(copy);
        epoll.tells("closed", &[])
    });
    plan.case("an epoll file is itself a file to watch and to poll", || {
        let (outer, inner, (reader, writer)) = (Epoll::new()?, Epoll::new()?, pipe()?);
        inner.add(&reader, IN).step("add")?;
        outer.add(&inner, IN).step("add")?;
        outer.tells("nothing", &[])?;
        write(&writer, 1)?;
        outer.tells("something", &[(IN, inner.number())])?;
        let mut poll = libc::pollfd { fd: outer.number(), events: libc::POLLIN, revents: 0 };
        equal("poll", call!(libc::SYS_poll, &mut poll, 1, 0), Ok(1))?;
        read(&reader, 1)?;
        outer.tells("nothing again", &[])?;
        equal("poll", call!(libc::SYS_poll, &mut poll, 1, 0), Ok(0))?;
        refused("a circle", inner.add(&outer, IN), Errno::ELOOP)?;
        let chain: Vec<Epoll> = (0..6).map(|_| Epoll::new()).collect::<Result<_, _>>()?;
        for pair in chain.windows(2).take(4) {
            pair[1].add(&pair[0], IN).step("four deep")?;
        }
        refused("five deep", chain[5].add(&chain[4], IN), Errno::ELOOP)?;
        let chain: Vec<Epoll> = (0..6).map(|_| Epoll::new()).collect::<Result<_, _>>()?;
        for pair in chain.windows(2).take(4) {
            pair[0].add(&pair[1], IN).step("four deep from the top")?;
        }
        refused("five deep from the top", chain[4].add(&chain[5], IN), Errno::ELOOP)?;
        chain[4].add(&reader, IN).step("what is no epoll file")?;
        write(&writer, 1)?;
        chain[0].tells("through all of them", &[(IN, chain[1].number())])
    });
    waiting(plan);
    refusals(plan);
}

fn waiting(plan: &mut Plan) {
    plan.case("a waiting process is woken by what comes", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        epoll.add(&reader, IN).step("add")?;
        let number = writer.0;
        let late = Running::start(move || {
            time::sleep(NAP);
            write(&Descriptor(number), 1).step("write").map(|_| ())
        })?;
        equal("told", epoll.wait(LATE / MILLISECOND), Ok(vec![(IN, reader.0)]))?;
        late.finish()
    });
    plan.case("a timer file wakes it", || {
        let (epoll, timer) = (Epoll::new()?, TimerFile::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)?);
        epoll.add(&timer.0, IN | EDGE).step("add")?;
        let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        timer.set(0, NAP, NAP / 2).step("timerfd_settime")?;
        equal("told", epoll.wait(-1), Ok(vec![(IN, timer.0)]))?;
        within("after", time::read_by_call(libc::CLOCK_MONOTONIC)? - start, NAP, NAP + LATE)?;
        equal("not read, so nothing new", epoll.wait(2 * NAP / MILLISECOND), Ok(vec![]))?;
        timer.read()?;
        equal("told again", epoll.wait(-1), Ok(vec![(IN, timer.0)]))
    });
    plan.case("time-outs are lengths of time, in milliseconds and in nanoseconds", || {
        let epoll = Epoll::new()?;
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        equal("epoll_wait", epoll.wait(NAP / MILLISECOND), Ok(vec![]))?;
        let middle = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        within("it took", middle - start, NAP, NAP + LATE)?;
        let limit = time::timespec(NAP);
        let answer = call!(libc::SYS_epoll_pwait2, epoll.number(), &mut event, 1, &limit, 0usize, 8);
        equal("epoll_pwait2", answer, Ok(0))?;
        within("it took", time::read_by_call(libc::CLOCK_MONOTONIC)? - middle, NAP, NAP + LATE)
    });
    plan.case("a signal with a handler ends the wait; epoll_pwait lets it in for the wait alone", || {
        let epoll = Epoll::new()?;
        let signal = interrupter()?;
        refused("epoll_wait", epoll.wait(-1), Errno::EINTR)?;
        signal.finish()?;
        let set = 1u64 << (libc::SIGUSR1 - 1);
        call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, 0usize, 8)?;
        let signal = interrupter()?;
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let answer = call!(libc::SYS_epoll_pwait, epoll.number(), &mut event, 1, -1, &0u64, 8);
        refused("epoll_pwait", answer, Errno::EINTR)?;
        signal.finish()?;
        let mut blocked = 0u64;
        call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0usize, &mut blocked, 8)?;
        equal("blocked afterwards", blocked & set, set)
    });
}

fn refusals(plan: &mut Plan) {
    plan.case("epoll_create: EINVAL for no size and for flags", || {
        for size in [0, -1] {
            refused("epoll_create", call!(libc::SYS_epoll_create, size), Errno::EINVAL)?;
        }
        refused("epoll_create1", call!(libc::SYS_epoll_create1, 1), Errno::EINVAL)
    });
    plan.case("epoll_ctl: EFAULT, EBADF, EPERM, EINVAL, then what the operation says", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        refused("event", call!(libc::SYS_epoll_ctl, 999, 1, 998, 8usize), Errno::EFAULT)?;
        refused("epoll", 999.add(&reader, IN), Errno::EBADF)?;
        refused("descriptor", epoll.add(&999, IN), Errno::EBADF)?;
        let null = Descriptor(call!(libc::SYS_open, c"/dev/null", libc::O_RDWR)? as i32);
        refused("what never waits", epoll.add(&null, IN), Errno::EPERM)?;
        refused("the same, of no epoll file", null.0.add(&null, IN), Errno::EPERM)?;
        refused("itself", epoll.add(&epoll, IN), Errno::EINVAL)?;
        refused("no epoll file", reader.0.add(&writer, IN), Errno::EINVAL)?;
        refused("operation", epoll.control(9, &reader, IN), Errno::EINVAL)?;
        refused("modify", epoll.modify(&reader, IN), Errno::ENOENT)?;
        refused("remove", epoll.remove(&reader), Errno::ENOENT)?;
        epoll.add(&reader, IN).step("add")?;
        refused("again", epoll.add(&reader, IN), Errno::EEXIST)
    });
    plan.case("EPOLLEXCLUSIVE goes with few other things, and stays", || {
        let (epoll, other, (reader, writer)) = (Epoll::new()?, Epoll::new()?, pipe()?);
        epoll.add(&reader, IN | EXCLUSIVE).step("add")?;
        refused("modify", epoll.modify(&reader, IN), Errno::EINVAL)?;
        refused("modify", epoll.modify(&reader, IN | EXCLUSIVE), Errno::EINVAL)?;
        refused("one shot", epoll.add(&writer, OUT | EXCLUSIVE | ONE_SHOT), Errno::EINVAL)?;
        refused("priority", epoll.add(&writer, OUT | EXCLUSIVE | libc::EPOLLPRI as u32), Errno::EINVAL)?;
        refused("an epoll file", epoll.add(&other, IN | EXCLUSIVE), Errno::EINVAL)?;
        write(&writer, 1)?;
        epoll.tells("written", &[(IN, reader.0)])
    });
    plan.case("epoll_wait: EBADF, EINVAL for no room, EINVAL for another file; EFAULT loses nothing", || {
        let (epoll, (reader, writer)) = (Epoll::new()?, pipe()?);
        let wait = |file: i32, room: i32| call!(libc::SYS_epoll_wait, file, 8usize, room, 0);
        for room in [0, -1, i32::MIN, i32::MAX] {
            refused("descriptor", wait(999, room), Errno::EBADF)?;
            refused("room", wait(epoll.number(), room), Errno::EINVAL)?;
        }
        refused("a pipe", wait(reader.0, 1), Errno::EINVAL)?;
        epoll.add(&reader, IN | EDGE).step("add")?;
        write(&writer, 1)?;
        refused("events", wait(epoll.number(), 1), Errno::EFAULT)?;
        epoll.tells("afterwards", &[(IN, reader.0)])?;
        let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let answer = call!(libc::SYS_epoll_pwait2, epoll.number(), &mut event, 1, &bad, 0usize, 8);
        refused("time", answer, Errno::EINVAL)?;
        let answer = call!(libc::SYS_epoll_pwait, epoll.number(), &mut event, 1, 0, &0u64, 4);
        refused("size of the mask", answer, Errno::EINVAL)
    });
}

/// The same operations on a number that is no epoll file.
trait NoEpoll {
    fn add(&self, file: &impl Number, events: u32) -> Result<usize, Errno>;
}

impl NoEpoll for i32 {
    fn add(&self, file: &impl Number, events: u32) -> Result<usize, Errno> {
        let event = libc::epoll_event { events, u64: 0 };
        call!(libc::SYS_epoll_ctl, *self, libc::EPOLL_CTL_ADD, file.number(), &event)
    }
}
