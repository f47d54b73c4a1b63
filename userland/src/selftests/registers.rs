//! A program's registers are its own: they survive system calls, faults, signals, and other programs on the same CPU.
//!
//! One piece of assembly loads every register from a table, does something, and stores every register to another table;
//! the tables must be equal where the thing done has no business.

use super::mappings;
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, failed, holds, on_gnomon, skipped};
use crate::system::time::{self, MILLISECOND};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The order of `general`.
const NAMES: [&str; 15] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const RAX: usize = 0;
const RCX: usize = 2;
const R11: usize = 10;
const R15: usize = 14;

/// Whether our kernel says, on its page for the vDSO, that the number there is somebody else's. Linux never does.
fn is_anothers() -> Result<bool, Why> {
    const RANDOM_PAGE: usize = 2;
    const IS_SINGLE_PROCESSOR: usize = 9;
    if !on_gnomon() {
        return Ok(false);
    }
    let pages = mappings::find("[vvar]")?.step("there is a mapping [vvar]")?;
    let address = pages.page(RANDOM_PAGE) + IS_SINGLE_PROCESSOR;
    // SAFETY: a byte of a page that every program may read.
    Ok(unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() } != 0)
}

/// All registers but RSP and RIP.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    general: [u64; 15],
    flags: u64,
    vectors: [[u64; 2]; 16],
    upper_halves: [[u64; 2]; 16],
    x87_control: u32,
    sse_control: u32,
    x87_value: u64,
}

impl State {
    /// Values that differ between registers and between seeds.
    fn pattern(seed: u64) -> State {
        let value = |index: u64| (seed << 32 | index << 8 | 0x5a).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        State {
            general: std::array::from_fn(|index| value(index as u64)),
            // Carry, parity, adjust, zero, sign, overflow; the second bit is always one, and interrupts are on.
            flags: 0x8d5 & (seed * 0x35) | 0x202,
            vectors: std::array::from_fn(|index| [value(100 + index as u64), value(200 + index as u64)]),
            upper_halves: std::array::from_fn(|index| [value(300 + index as u64), value(400 + index as u64)]),
            // Precision and rounding of the x87, rounding of SSE; all errors masked.
            x87_control: [0x37f, 0x27f, 0xc7f, 0x77f][seed as usize % 4],
            sse_control: [0x1f80, 0x3f80, 0x5f80, 0x7f80][seed as usize % 4],
            x87_value: (1.5 + seed as f64).to_bits(),
        }
    }

    const ZERO: State = State {
        general: [0; 15],
        flags: 0,
        vectors: [[0; 2]; 16],
        upper_halves: [[0; 2]; 16],
        x87_control: 0,
        sse_control: 0,
        x87_value: 0,
    };
}

/// A function `name(from: *const State, to: *mut State)` that does `act` in between.
macro_rules! exercise {
    ($name:ident, $($act:literal)*) => {
        std::arch::global_asm!(
            concat!(".global exercise_", stringify!($name)),
            concat!("exercise_", stringify!($name), ":"),
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "sub rsp, 8",
            "fnstcw [rsp]",
            "stmxcsr [rsp + 4]",
            "push rsi", // Where to store, at [rsp] when all is loaded.
            "fninit",
            "fldcw [rdi + {x87_control}]",
            "ldmxcsr [rdi + {sse_control}]",
            "fld qword ptr [rdi + {x87_value}]",
            "cmp byte ptr [rip + {has_avx}], 0",
            "je 2f",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu xmm\\n, [rdi + {vectors} + 16 * \\n]",
            "vinsertf128 ymm\\n, ymm\\n, [rdi + {upper_halves} + 16 * \\n], 1",
            ".endr",
            "jmp 3f",
            "2:",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqu xmm\\n, [rdi + {vectors} + 16 * \\n]",
            ".endr",
            "3:",
            "push [rdi + 8 * 15]",
            "popfq",
            "mov rax, [rdi]",
            "mov rbx, [rdi + 8]",
            "mov rcx, [rdi + 16]",
            "mov rdx, [rdi + 24]",
            "mov rsi, [rdi + 32]",
            "mov rbp, [rdi + 48]",
            "mov r8, [rdi + 56]",
            "mov r9, [rdi + 64]",
            "mov r10, [rdi + 72]",
            "mov r11, [rdi + 80]",
            "mov r12, [rdi + 88]",
            "mov r13, [rdi + 96]",
            "mov r14, [rdi + 104]",
            "mov r15, [rdi + 112]",
            "mov rdi, [rdi + 40]",
            $($act,)*
            "xchg rdi, [rsp]",
            "mov [rdi], rax",
            "mov [rdi + 8], rbx",
            "mov [rdi + 16], rcx",
            "mov [rdi + 24], rdx",
            "mov [rdi + 32], rsi",
            "mov [rdi + 48], rbp",
            "mov [rdi + 56], r8",
            "mov [rdi + 64], r9",
            "mov [rdi + 72], r10",
            "mov [rdi + 80], r11",
            "mov [rdi + 88], r12",
            "mov [rdi + 96], r13",
            "mov [rdi + 104], r14",
            "mov [rdi + 112], r15",
            "pushfq",
            "pop [rdi + 8 * 15]",
            "pop [rdi + 40]",
            "fstp qword ptr [rdi + {x87_value}]",
            "fnstcw [rdi + {x87_control}]",
            "stmxcsr [rdi + {sse_control}]",
            "cmp byte ptr [rip + {has_avx}], 0",
            "je 4f",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu [rdi + {vectors} + 16 * \\n], xmm\\n",
            "vextractf128 [rdi + {upper_halves} + 16 * \\n], ymm\\n, 1",
            ".endr",
            "vzeroupper",
            "jmp 5f",
            "4:",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqu [rdi + {vectors} + 16 * \\n], xmm\\n",
            ".endr",
            "5:",
            "cld",
            "fldcw [rsp]",
            "ldmxcsr [rsp + 4]",
            "add rsp, 8",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
            x87_control = const std::mem::offset_of!(State, x87_control),
            sse_control = const std::mem::offset_of!(State, sse_control),
            x87_value = const std::mem::offset_of!(State, x87_value),
            vectors = const std::mem::offset_of!(State, vectors),
            upper_halves = const std::mem::offset_of!(State, upper_halves),
            has_avx = sym HAS_AVX,
        );
    };
}

static HAS_AVX: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
/// How often `spin` turns; counted down in memory, as all registers are taken.
static TURNS: AtomicU64 = AtomicU64::new(0);

exercise!(system_call, "syscall");
exercise!(fault, "mov byte ptr [r15], 1");
exercise!(undefined, "ud2");

std::arch::global_asm!(".set registers_turns, {}", sym TURNS);
exercise!(spin, "6:" "dec qword ptr [rip + registers_turns]" "jnz 6b");

type Exercise = unsafe extern "C" fn(*const State, *mut State);

unsafe extern "C" {
    fn exercise_system_call(from: *const State, to: *mut State);
    fn exercise_fault(from: *const State, to: *mut State);
    fn exercise_undefined(from: *const State, to: *mut State);
    fn exercise_spin(from: *const State, to: *mut State);
}

/// Runs it, and compares all but the named general registers (and the flags, if they may change).
fn survives(exercise: Exercise, from: &State, but: &[usize], flags_may_change: bool) -> Result<State, Why> {
    HAS_AVX.store(std::is_x86_feature_detected!("avx"), SeqCst);
    let mut expected = *from;
    if !HAS_AVX.load(SeqCst) {
        expected.upper_halves = [[0; 2]; 16];
    }
    // The x87's control word is 16 bits; MXCSR's lower six say what happened so far.
    let mut got = State::ZERO;
    // SAFETY: the function keeps to the calling convention, and the states are there.
    unsafe { exercise(from, &mut got) };
    for (index, name) in NAMES.iter().enumerate().filter(|(index, _)| !but.contains(index)) {
        equal(name, got.general[index], expected.general[index])?;
    }
    if !flags_may_change {
        equal("flags", got.flags, expected.flags)?;
    }
    for index in 0..16 {
        equal(&format!("xmm{index}"), got.vectors[index], expected.vectors[index])?;
        equal(&format!("ymm{index}, upper half"), got.upper_halves[index], expected.upper_halves[index])?;
    }
    equal("x87 control", got.x87_control & 0xffff, expected.x87_control)?;
    equal("MXCSR", got.sse_control, expected.sse_control)?;
    equal("st(0)", f64::from_bits(got.x87_value), f64::from_bits(expected.x87_value))?;
    Ok(got)
}

/// A page that is not there yet.
fn fresh_page() -> Result<usize, Why> {
    let page = call!(
        libc::SYS_mmap,
        0,
        4096,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
        0
    );
    page.step("mmap")
}

/// Steps over the instruction (of two bytes), after having written to the vector registers itself.
extern "C" fn step_over(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let other = State::pattern(99);
    let mut ignored = State::ZERO;
    // SAFETY: it keeps to the calling convention; the context is valid until the handler returns.
    unsafe {
        TURNS.store(1, SeqCst);
        exercise_spin(&other, &mut ignored);
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
    }
}

/// Spins with a pattern, in many short turns, for a while.
fn spin_with(seed: u64) -> Outcome {
    let from = State::pattern(seed);
    let end = time::read_by_call(libc::CLOCK_MONOTONIC)? + 150 * MILLISECOND;
    while time::read_by_call(libc::CLOCK_MONOTONIC)? < end {
        TURNS.store(200_000, SeqCst);
        survives(exercise_spin, &from, &[], true)?;
    }
    Ok(())
}

pub fn cases(plan: &mut Plan) {
    plan.case(
        "a system call changes RAX, RCX (the address behind it) and R11 (the flags), and nothing else",
        || {
            for seed in 0..8 {
                let mut from = State::pattern(seed);
                from.general[RAX] = libc::SYS_getppid as u64;
                let got = survives(exercise_system_call, &from, &[RAX, RCX, R11], false)?;
                equal("the result", got.general[RAX] as i64, i64::from(std::os::unix::process::parent_id()))?;
                equal("R11", got.general[R11], from.flags)?;
                let here = exercise_system_call as *const () as u64;
                holds((here..here + 4096).contains(&got.general[RCX]), || {
                    format!("RCX is {:#x}", got.general[RCX])
                })?;
            }
            Ok(())
        },
    );
    plan.case("a call that does not exist changes only the same three", || {
        let mut from = State::pattern(3);
        from.general[RAX] = u64::MAX;
        let got = survives(exercise_system_call, &from, &[RAX, RCX, R11], false)?;
        equal("the result", got.general[RAX] as i64, -i64::from(libc::ENOSYS))
    });
    plan.case("a page fault that the kernel mends changes nothing", || {
        for seed in 0..8 {
            let mut from = State::pattern(seed);
            from.general[R15] = fresh_page()? as u64;
            survives(exercise_fault, &from, &[], false)?;
        }
        Ok(())
    });
    plan.case("a signal's handler changes nothing that it does not mean to", || {
        // SAFETY: the handler steps over the instruction.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = step_over as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut());
        }
        for seed in 0..8 {
            survives(exercise_undefined, &State::pattern(seed), &[], false)?;
        }
        Ok(())
    });
    plan.case("three processes that share a CPU do not see each other's registers", || {
        let others = [Running::start(|| spin_with(1))?, Running::start(|| spin_with(2))?];
        spin_with(3)?;
        others.into_iter().try_for_each(Running::finish)
    });
    plan.case("so do three threads", || {
        let threads = [4, 5, 6].map(|seed| {
            std::thread::spawn(move || {
                // TURNS is everybody's: one turn each, many times.
                let from = State::pattern(seed);
                (0..2000).try_for_each(|_| {
                    let mut from = from;
                    from.general[RAX] = libc::SYS_sched_yield as u64;
                    survives(exercise_system_call, &from, &[RAX, RCX, R11], false).map(|_| ())
                })
            })
        });
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| failed("a thread panicked")))
    });
    plan.case("a child begins with its parent's floating-point control", || {
        let set: u32 = 0x5f80;
        // SAFETY: it changes the rounding of this process, which ends with the case.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &set, options(nostack)) };
        Running::start(move || {
            let mut got = 0_u32;
            // SAFETY: it only stores.
            unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut got, options(nostack)) };
            equal("MXCSR", got & !0x3f, set)
        })?
        .finish()
    });
    plan.case("each process has its own GS base", || {
        const ARCH_SET_GS: i32 = 0x1001;
        let with_base = |base: u64| {
            move || {
                call!(libc::SYS_arch_prctl, ARCH_SET_GS, base as usize).step("arch_prctl(ARCH_SET_GS)")?;
                for _ in 0..200 {
                    let _ = call!(libc::SYS_sched_yield);
                    let mut got = 0_u64;
                    const ARCH_GET_GS: i32 = 0x1004;
                    call!(libc::SYS_arch_prctl, ARCH_GET_GS, &mut got).step("arch_prctl(ARCH_GET_GS)")?;
                    equal("the base", got, base)?;
                }
                Ok(())
            }
        };
        let other = Running::start(with_base(0x1234_5000))?;
        with_base(0x5678_9000)()?;
        other.finish()
    });
    plan.case("the CPU's number is where programs look for it", || {
        let (limit, mut by_call): (u32, u32);
        by_call = u32::MAX;
        call!(libc::SYS_getcpu, &mut by_call, 0, 0).step("getcpu")?;
        // SAFETY: LSL asks for the limit of the segment whose selector is 0x7b; that is all.
        unsafe {
            std::arch::asm!("lsl {limit:e}, {selector:e}", limit = out(reg) limit, selector = in(reg) 0x7b)
        };
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        if cpus > 1 {
            return skipped("with more than one CPU it may change between two looks");
        }
        if is_anothers()? {
            return skipped("this machine is a process, and programs find its host's number there");
        }
        equal("the limit of 0x7b", limit & 0xfff, by_call)
    });
}
