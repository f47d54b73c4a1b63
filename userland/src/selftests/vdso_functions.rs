//! The vDSO's functions beyond reading a clock: results through every pointer, from threads, and in signal handlers.

use super::support::{FAR, measured_clocks, needs_root};
use crate::call;
use crate::clocks::read_by_vdso;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds, within};
use crate::system::namespace;
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::Vdso;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

fn vdso() -> Result<Vdso, Why> {
    Vdso::find().step("the vDSO")
}

pub fn cases(plan: &mut Plan) {
    plan.case("time stores what it returns; NULL is fine", || {
        let time = vdso()?.time().step("__vdso_time")?;
        let mut stored = 0;
        let before = time(std::ptr::null_mut());
        let returned = time(&mut stored);
        equal("what was stored", stored, returned)?;
        within("seconds passed", returned - before, 0, 1)
    });
    plan.case("gettimeofday fills what it is given: time, zone, both, none", || {
        let gettimeofday = vdso()?.gettimeofday().step("__vdso_gettimeofday")?;
        let mut value = libc::timeval { tv_sec: -1, tv_usec: -1 };
        let mut zone = [-1, -1];
        equal("none", gettimeofday(std::ptr::null_mut(), std::ptr::null_mut()), 0)?;
        equal("the zone", gettimeofday(std::ptr::null_mut(), &mut zone), 0)?;
        holds(zone != [-1, -1], || "the zone was not filled".into())?;
        equal("the time", gettimeofday(&mut value, std::ptr::null_mut()), 0)?;
        within("microseconds", value.tv_usec, 0, 999_999)?;
        within("seconds", value.tv_sec, 1, i64::from(u32::MAX))?;
        equal("both", gettimeofday(&mut value, &mut zone), 0)
    });
    plan.case("getcpu names a processor that this task may run on, NULLs are fine", || {
        let getcpu = vdso()?.getcpu().step("__vdso_getcpu")?;
        let mut mask = [0u64; 128];
        call!(libc::SYS_sched_getaffinity, 0, 1024usize, &mut mask).step("sched_getaffinity")?;
        let (mut cpu, mut node) = (u32::MAX, u32::MAX);
        equal("getcpu", getcpu(&mut cpu, &mut node, 0), 0)?;
        holds(cpu < 8192 && mask[cpu as usize / 64] >> (cpu % 64) & 1 == 1, || format!("processor {cpu}"))?;
        holds(node < 1024, || format!("node {node}"))?;
        equal("getcpu(NULL, NULL)", getcpu(std::ptr::null_mut(), std::ptr::null_mut(), 0), 0)?;
        let (mut by_call, mut node_by_call) = (u32::MAX, u32::MAX);
        // The task may be moved in between; on one processor it cannot be.
        for _ in 0..100 {
            getcpu(&mut cpu, &mut node, 0);
            call!(libc::SYS_getcpu, &mut by_call, &mut node_by_call, 0usize).step("getcpu by system call")?;
            if (cpu, node) == (by_call, node_by_call) {
                return Ok(());
            }
        }
        failed(format!("processor {cpu} by vDSO, {by_call} by system call"))
    });
    plan.case("a negative id is compared unsigned: the vDSO asks the kernel", || {
        let read = super::clock_shift::vdso_clock_gettime()?;
        for id in [-1, -2, -6, i32::MIN, i32::MIN + 1] {
            let by_call = time::read_by_call(id).map(|_| ());
            equal(&format!("id {id}"), read_by_vdso(read, id).map(|_| ()), by_call)?;
        }
        Ok(())
    });
    plan.case("a stack of any alignment, and results across a page boundary", || {
        let read = super::clock_shift::vdso_clock_gettime()?;
        let mut bytes = Box::new([0u8; 3 * 4096]);
        let address = bytes.as_mut_ptr() as usize;
        let boundary = (address + 4096) & !4095;
        for shift in 1..16 {
            equal("clock_gettime", read(1, (boundary - shift) as *mut libc::timespec), 0)?;
        }
        Ok(())
    });
    for place in ["outside", "inside"] {
        plan.case(
            format!("{place}: from several threads no clock steps back, by vDSO or by system call"),
            move || {
                if place == "inside" {
                    needs_root()?;
                    namespace::unshare_and_enter(FAR).step("entering")?;
                }
                for clock in
                    measured_clocks().filter(|clock| clock.shift != crate::system::clocks::Shift::None)
                {
                    across_threads(clock.id)?;
                }
                Ok(())
            },
        );
        plan.case(
            format!("{place}: readings in a signal handler do not disturb those it interrupts"),
            move || {
                if place == "inside" {
                    needs_root()?;
                    namespace::unshare_and_enter(FAR).step("entering")?;
                }
                in_handlers()
            },
        );
    }
}

/// Threads read one clock in turn, each no earlier than the latest reading any of them has published.
fn across_threads(clock: i32) -> Outcome {
    static LATEST: AtomicI64 = AtomicI64::new(i64::MIN);
    LATEST.store(i64::MIN, Ordering::SeqCst);
    let end = time::read_by_call(libc::CLOCK_REALTIME)? + 60 * MILLISECOND;
    let work = move |by_vdso_first: bool| -> Outcome {
        let read = super::clock_shift::vdso_clock_gettime()?;
        let mut by_vdso = by_vdso_first;
        while time::read_by_call(libc::CLOCK_REALTIME)? < end {
            for _ in 0..50 {
                let latest = LATEST.load(Ordering::SeqCst);
                let reading = if by_vdso { read_by_vdso(read, clock)? } else { time::read_by_call(clock)? };
                holds(reading >= latest, || format!("clock {clock}: {latest} was seen, then {reading}"))?;
                LATEST.fetch_max(reading, Ordering::SeqCst);
                by_vdso = !by_vdso;
            }
        }
        Ok(())
    };
    let threads: Vec<_> = (0..3).map(|index| std::thread::spawn(move || work(index % 2 == 0))).collect();
    threads.into_iter().try_for_each(|thread| thread.join().ok().step("a thread")?)
}

static READINGS: AtomicU32 = AtomicU32::new(0);
static STEPPED_BACK: AtomicBool = AtomicBool::new(false);

extern "C" fn reading_handler(_signal: i32) {
    if let Ok(read) = super::clock_shift::vdso_clock_gettime() {
        let (one, two) = (read_by_vdso(read, 1), read_by_vdso(read, 1));
        if !matches!((one, two), (Ok(one), Ok(two)) if one <= two) {
            STEPPED_BACK.store(true, Ordering::SeqCst);
        }
        READINGS.fetch_add(1, Ordering::SeqCst);
    }
}

fn in_handlers() -> Outcome {
    // SAFETY: the handler reads clocks and stores to atomics.
    unsafe { libc::signal(libc::SIGUSR1, reading_handler as *const () as usize) };
    let parent = call!(libc::SYS_getpid)?;
    let sender = crate::ktap::Running::start(move || {
        for _ in 0..100 {
            call!(libc::SYS_kill, parent, libc::SIGUSR1).step("kill")?;
            time::sleep(MILLISECOND / 4);
        }
        Ok(())
    })?;
    let read = super::clock_shift::vdso_clock_gettime()?;
    let mut last = i64::MIN;
    let end = time::read_by_call(1)? + 5 * SECOND;
    while READINGS.load(Ordering::SeqCst) < 5 && last < end {
        let reading = read_by_vdso(read, 1)?;
        holds(reading >= last, || format!("{last}, then {reading}"))?;
        last = reading;
    }
    // SAFETY: a constant.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    sender.finish()?;
    holds(!STEPPED_BACK.load(Ordering::SeqCst), || "the clock stepped back in a handler".into())?;
    within("readings in handlers", READINGS.load(Ordering::SeqCst), 5, u32::MAX)
}
