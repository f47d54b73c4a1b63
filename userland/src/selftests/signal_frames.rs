//! What a signal handler leaves untouched, and what a hostile frame must not do to the kernel.
//!
//! Delivery saves every register on the user's stack and rt_sigreturn takes them back from there: memory that a
//! program can write. So each register that gives power (flags, segments, the address to go on at, the state of the
//! floating point unit) must be looked at before it is believed.

use super::signals::{bit, own_id};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, holds, skipped};
use crate::system::process::{self, Status};
use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

static COUNT: AtomicI32 = AtomicI32::new(0);
/// Which register of the frame the handler overwrites, and with what: see [`spoil`].
static REGISTER: AtomicI32 = AtomicI32::new(-1);
static WITH: AtomicU64 = AtomicU64::new(0);

/// Spoils all vector registers and the x87, as a handler may.
extern "C" fn disturb(_signal: i32) {
    COUNT.fetch_add(1, SeqCst);
    // SAFETY: declares everything it changes; the x87 is left empty again.
    unsafe {
        asm!("pxor xmm0, xmm0", "pcmpeqd xmm1, xmm1", "movaps xmm2, xmm1", "movaps xmm15, xmm1", "movaps xmm8, xmm0",
            "finit", "fldpi", "fstp st(0)",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm8") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _);
        if std::arch::is_x86_feature_detected!("avx") {
            asm!("vxorps ymm0, ymm0, ymm0", "vcmptrueps ymm1, ymm0, ymm0", "vmovaps ymm7, ymm1", "vmovaps ymm15, ymm1",
                "vzeroupper", out("ymm0") _, out("ymm1") _, out("ymm7") _, out("ymm15") _);
        }
    }
}

/// Overwrites one register in the saved frame.
extern "C" fn spoil(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    COUNT.fetch_add(1, SeqCst);
    // SAFETY: the kernel passes the frame it will restore from; changing it is what is tested.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let register = REGISTER.load(SeqCst);
        if register >= 0 {
            context.uc_mcontext.gregs[register as usize] = WITH.load(SeqCst) as i64;
        } else if register == -2 {
            context.uc_mcontext.fpregs = WITH.load(SeqCst) as *mut _;
        } else if register == -3 && !context.uc_mcontext.fpregs.is_null() {
            (*context.uc_mcontext.fpregs).mxcsr = WITH.load(SeqCst) as u32;
        } else if register == -4 && !context.uc_mcontext.fpregs.is_null() {
            // The extended state's header and size words behind the legacy area.
            let bytes = context.uc_mcontext.fpregs.cast::<u8>();
            std::ptr::write_bytes(bytes.add(464), 0xff, 48);
            std::ptr::write_bytes(bytes.add(512), 0xff, 64);
        }
    }
}

/// Installs a handler for SIGUSR1.
fn install(handler: usize, flags: i32) {
    // SAFETY: both handlers here are of the kind their flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
}

/// Sends SIGUSR1 to itself with a spoiling handler; how that ends.
fn ends_with(register: i32, value: u64) -> Result<Status, crate::ktap::Why> {
    let status = process::run(|| {
        REGISTER.store(register, SeqCst);
        WITH.store(value, SeqCst);
        install(spoil as *const () as usize, libc::SA_SIGINFO);
        let _ = call!(libc::SYS_kill, own_id(), libc::SIGUSR1);
        0
    })?;
    Ok(status)
}

pub fn cases(plan: &mut Plan) {
    plan.case("a handler leaves the general registers and the flags as they were", || {
        install(disturb as *const () as usize, 0);
        let id = own_id();
        let mut saved = [0u64; 16];
        // SAFETY: a system call with registers loaded with patterns before and stored after; all are declared.
        unsafe {
            asm!(
                "push rbx", "push rbp", "push {result}",
                "mov rbx, 0x1111111111111111", "mov rbp, 0x2222222222222222", "mov r8, 0x3333333333333333",
                "mov r9, 0x4444444444444444", "mov r10, 0x5555555555555555", "mov r12, 0x6666666666666666",
                "mov r13, 0x7777777777777777", "mov r14, 0x8888888888888888", "mov r15, 0x9999999999999999",
                "mov rdx, 0xaaaaaaaaaaaaaaaa", "std", "stc", "mov eax, 62", "syscall",
                "pushfq", "pop r11", "cld",
                "mov rcx, [rsp]",
                "mov [rcx], rbx", "mov [rcx + 8], rbp", "mov [rcx + 16], r8", "mov [rcx + 24], r9",
                "mov [rcx + 32], r10", "mov [rcx + 40], r12", "mov [rcx + 48], r13", "mov [rcx + 56], r14",
                "mov [rcx + 64], r15", "mov [rcx + 72], rdx", "mov [rcx + 80], r11", "mov [rcx + 88], rax",
                "pop {result}", "pop rbp", "pop rbx",
                result = inout(reg) saved.as_mut_ptr() => _,
                in("rdi") i64::from(id), in("rsi") 10i64,
                out("rax") _, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            );
        }
        equal("count", COUNT.load(SeqCst), 1)?;
        for (index, value) in saved[..9].iter().enumerate() {
            equal(&format!("register {index}"), *value, 0x1111_1111_1111_1111 * (index as u64 + 1))?;
        }
        equal("rdx", saved[9], 0xaaaa_aaaa_aaaa_aaaa)?;
        equal("direction and carry flag", saved[10] & 0x401, 0x401)?;
        equal("the call's answer", saved[11], 0)
    });
    plan.case("a handler leaves xmm registers, mxcsr and the x87 as they were", || {
        install(disturb as *const () as usize, 0);
        let mut values = [[0u64; 2]; 16];
        for (index, value) in values.iter_mut().enumerate() {
            *value = [0x0101_0101_0101_0101 * index as u64, !(index as u64)];
        }
        let before = values;
        let (mut control, mut mxcsr) = (0u16, 0u32);
        // SAFETY: loads, makes a system call (62, kill), stores; every changed register is declared.
        unsafe {
            asm!(
                "sub rsp, 160", "mov dword ptr [rsp], 0x7f80", "ldmxcsr [rsp]", "mov word ptr [rsp], 0x0a7f", "fldcw [rsp]",
                "movups xmm0, [{v}]", "movups xmm1, [{v} + 16]", "movups xmm2, [{v} + 32]", "movups xmm7, [{v} + 112]",
                "movups xmm8, [{v} + 128]", "movups xmm15, [{v} + 240]", "fld1",
                "mov eax, 62", "syscall",
                "movups [{v}], xmm0", "movups [{v} + 16], xmm1", "movups [{v} + 32], xmm2", "movups [{v} + 112], xmm7",
                "movups [{v} + 128], xmm8", "movups [{v} + 240], xmm15", "fistp qword ptr [{v} + 48]",
                "fnstcw [{control}]", "stmxcsr [{mxcsr}]", "mov dword ptr [rsp], 0x1f80", "ldmxcsr [rsp]", "fninit",
                "add rsp, 160",
                v = in(reg) values.as_mut_ptr(), control = in(reg) &mut control, mxcsr = in(reg) &mut mxcsr,
                in("rdi") i64::from(own_id()), in("rsi") 10i64,
                out("rax") _, out("rcx") _, out("r11") _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm7") _, out("xmm8") _, out("xmm15") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        equal("count", COUNT.load(SeqCst), 1)?;
        for index in [0, 1, 2, 7, 8, 15] {
            equal(&format!("xmm{index}"), values[index], before[index])?;
        }
        equal("the x87's number", values[3][0], 1)?;
        equal("the x87's control word", control, 0x0a7f)?;
        equal("mxcsr", mxcsr, 0x7f80)
    });
    plan.case("a handler leaves the upper halves of ymm registers as they were", || {
        if !std::arch::is_x86_feature_detected!("avx") {
            return skipped("the processor has no AVX");
        }
        install(disturb as *const () as usize, 0);
        let mut values = [[7u64; 4], [8; 4], [9; 4], [10; 4]];
        let before = values;
        // SAFETY: as above; AVX was found to be there.
        unsafe {
            asm!(
                "vmovups ymm0, [{v}]", "vmovups ymm1, [{v} + 32]", "vmovups ymm7, [{v} + 64]", "vmovups ymm15, [{v} + 96]",
                "mov eax, 62", "syscall",
                "vmovups [{v}], ymm0", "vmovups [{v} + 32], ymm1", "vmovups [{v} + 64], ymm7", "vmovups [{v} + 96], ymm15",
                "vzeroupper",
                v = in(reg) values.as_mut_ptr(), in("rdi") i64::from(own_id()), in("rsi") 10i64,
                out("rax") _, out("rcx") _, out("r11") _,
                out("ymm0") _, out("ymm1") _, out("ymm7") _, out("ymm15") _,
            );
        }
        equal("count", COUNT.load(SeqCst), 1)?;
        equal("registers", values, before)
    });
    plan.case("a handler may change where to go on and with what: the frame is believed", || {
        equal("an unchanged frame", ends_with(-1, 0)?, Status::Exited(0))?;
        // RAX in the frame becomes the answer of the interrupted call.
        let status = process::run(|| {
            REGISTER.store(libc::REG_RAX, SeqCst);
            WITH.store(77, SeqCst);
            install(spoil as *const () as usize, libc::SA_SIGINFO);
            call!(libc::SYS_kill, own_id(), libc::SIGUSR1).unwrap_or(0) as i32
        })?;
        equal("the answer", status, Status::Exited(77))
    });
    plan.case("no number in a frame's rax means anything but itself, not even one that a kernel knows", || {
        // Linux' own kernel, and others, ask by such errors to have a call made again.
        for number in -530..=-500 {
            REGISTER.store(libc::REG_RAX, SeqCst);
            WITH.store(number as u64, SeqCst);
            install(spoil as *const () as usize, libc::SA_SIGINFO);
            let found: i64;
            // SAFETY: kill(own id, SIGUSR1), whose handler changes nothing but rax.
            unsafe {
                asm!("syscall", inout("rax") libc::SYS_kill => found, in("rdi") i64::from(own_id()), in("rsi") 10i64,
                    out("rcx") _, out("r11") _);
            }
            equal("rax", found, number)?;
        }
        Ok(())
    });
    for (what, address) in [
        ("address 0", 0),
        ("the kernel's half", 0xffff_ffff_8100_0000),
        ("a non-canonical address", 0x8000_0000_0000_0000),
        ("the end of the user's half", 0x7fff_ffff_f000),
        ("the first address of none", 0x8000_0000_0000),
    ] {
        plan.case(format!("a frame that goes on at {what}: SIGSEGV"), move || {
            equal("how it ended", ends_with(libc::REG_RIP, address)?, Status::Killed(libc::SIGSEGV))
        });
    }
    plan.case(
        "a frame cannot raise the privilege of flags: no I/O, no nested task, interrupts stay on",
        || {
            // IOPL 3, NT, RF, VM, AC, VIF, VIP, ID: what is not the user's is dropped. IF off would stop the machine.
            equal("with power", ends_with(libc::REG_EFL, 0x3f_7002)?, Status::Exited(0))?;
            equal("with interrupts off", ends_with(libc::REG_EFL, 2)?, Status::Exited(0))?;
            let status = process::run(|| {
                REGISTER.store(libc::REG_EFL, SeqCst);
                WITH.store(0x3000, SeqCst);
                install(spoil as *const () as usize, libc::SA_SIGINFO);
                let _ = call!(libc::SYS_kill, own_id(), libc::SIGUSR1);
                let flags: u64;
                // SAFETY: reads the flags.
                unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
                i32::from(flags & 0x3000 != 0 || flags & 0x200 == 0)
            })?;
            equal("the flags afterwards", status, Status::Exited(0))
        },
    );
    plan.case("a frame with the kernel's segments does not enter the kernel", || {
        for segments in [0x0000_0000_0010_0008u64, 0x0018_0000_0000_0010, 0, 0xffff_ffff_ffff_ffff] {
            let status = ends_with(libc::REG_CSGSFS, segments)?;
            let contained =
                matches!(status, Status::Exited(0) | Status::Killed(libc::SIGSEGV | libc::SIGBUS));
            holds(contained, || format!("segments {segments:#x}: {status:?}"))?;
        }
        Ok(())
    });
    plan.case("a frame with bad floating point state ends the process or is cleaned", || {
        for (what, register, value) in [
            ("state in the kernel", -2, 0xffff_8000_0000_0000u64),
            ("state nowhere", -2, 8),
            ("state not aligned", -2, 0x7fff_0000_0001),
            ("reserved bits in mxcsr", -3, 0xffff_ffff),
            ("a header of ones", -4, 0),
        ] {
            let status = ends_with(register, value)?;
            let contained = matches!(status, Status::Exited(0) | Status::Killed(libc::SIGSEGV));
            holds(contained, || format!("{what}: {status:?}"))?;
        }
        Ok(())
    });
    plan.case("rt_sigreturn without a frame: SIGSEGV", || {
        let status = process::run(|| {
            let _ = call!(libc::SYS_rt_sigreturn);
            0
        })?;
        holds(matches!(status, Status::Killed(_)), || format!("it ended with {status:?}"))?;
        for stack in [0u64, 8, 0xffff_8000_0000_0000, 0x8000_0000_0000_0000, 0x7fff_ffff_f000] {
            let status = process::run(|| {
                // SAFETY: the process is meant to end here.
                unsafe {
                    asm!("mov rsp, {}", "mov eax, 15", "syscall", "ud2", in(reg) stack, options(noreturn))
                }
            })?;
            equal(&format!("with the stack at {stack:#x}"), status, Status::Killed(libc::SIGSEGV))?;
        }
        Ok(())
    });
    plan.case("a signal when the stack is nowhere: SIGSEGV, not caught", || {
        for stack in [0u64, 64, 0xffff_8000_0000_0000, 0x8000_0000_0000_0000] {
            let status = process::run(|| {
                install(disturb as *const () as usize, 0);
                let id = i64::from(own_id());
                // SAFETY: as above: kill(own id, SIGUSR1) with a stack pointer to nothing, then exit(0).
                unsafe {
                    asm!("mov rsp, {}", "mov eax, 62", "syscall", "mov eax, 60", "xor edi, edi", "syscall", "ud2",
                        in(reg) stack, in("rdi") id, in("rsi") 10i64, options(noreturn))
                }
            })?;
            equal(&format!("with the stack at {stack:#x}"), status, Status::Killed(libc::SIGSEGV))?;
        }
        Ok(())
    });
    plan.case("a handler that is nowhere: SIGSEGV", || {
        for handler in [8usize, 0xffff_8000_0000_0000, 0x8000_0000_0000_0000] {
            let status = process::run(|| {
                install(handler, 0);
                let _ = call!(libc::SYS_kill, own_id(), libc::SIGUSR1);
                0
            })?;
            equal(&format!("handler {handler:#x}"), status, Status::Killed(libc::SIGSEGV))?;
        }
        Ok(())
    });
    plan.case("a thousand signals, each with its frame, and the stack comes back", || {
        install(disturb as *const () as usize, 0);
        let before = 0u8;
        let at = std::ptr::from_ref(&before) as usize;
        for _ in 0..1000 {
            call!(libc::SYS_kill, own_id(), libc::SIGUSR1).step("kill")?;
        }
        equal("count", COUNT.load(SeqCst), 1000)?;
        holds(at == std::ptr::from_ref(&before) as usize && bit(1) == 1, || "the stack moved".into())
    });
    plan.case("preempted processes keep their vector registers apart", keeps_registers_apart);
}

/// Three processes hold different values in registers through a busy loop longer than several ticks.
fn keeps_registers_apart() -> Outcome {
    let mut children = Vec::new();
    for seed in 1..=3u64 {
        children.push(crate::ktap::Running::start(move || {
            let end = crate::system::time::read_by_call(1)? + 60 * crate::system::time::MILLISECOND;
            while crate::system::time::read_by_call(1)? < end {
                let (low, high): (u64, u64);
                let mut number = seed;
                // SAFETY: a busy loop over registers that are declared.
                unsafe {
                    asm!(
                        "movq xmm3, {seed}", "movq xmm14, {seed}", "fild qword ptr [{memory}]", "mov ecx, 200000",
                        "2: dec ecx", "jnz 2b",
                        "movq {low}, xmm3", "movq {high}, xmm14", "fistp qword ptr [{memory}]",
                        seed = in(reg) seed, memory = in(reg) &mut number, low = out(reg) low, high = out(reg) high,
                        out("ecx") _, out("xmm3") _, out("xmm14") _,
                        out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                        out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    );
                }
                equal("registers", (low, high), (seed, seed))?;
            }
            Ok(())
        })?);
    }
    children.into_iter().try_for_each(|child| child.finish())
}
