//! A kernel panic: what it prints, and the status it ends with. The one panic a user can ask for is to end init.

use super::{EVERYWHERE, GNOMON};
use anyhow::{Context, Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("panic_when_init_exits", &GNOMON, |m| {
            let boot = Boot::of("/bin/sh").arguments(&["-c", "exit 3"]);
            init_ends(m, boot, "exitcode=0x00000300")
        }),
        scenario("panic_when_init_crashes", &GNOMON, |m| {
            let boot = Boot::of("/crash").archive(crash()?);
            init_ends(m, boot, "exitcode=0x0000000b")
        }),
        scenario("init_survives_its_own_signals", &EVERYWHERE, survives),
    ]
}

/// Ends init and reads the whole message. The exit code is in the encoding of wait(2), as Linux prints it.
fn init_ends(m: &mut Machine, boot: Boot, code: &str) -> Result<()> {
    m.boot(boot)?;
    let panic = m.expect_panic("Attempted to kill init!")?;
    let first = panic.lines().next().context("an empty message")?;
    ensure!(first.contains(code), "the exit code {code} is missing: {first}");
    let (_, place) = first.rsplit_once(" at ").context("the message names no place")?;
    ensure!(place.contains(".rs:"), "{place:?} is no FILE:LINE");
    let lower = panic.to_lowercase();
    for wanted in ["rip", "rsp"] {
        ensure!(lower.contains(wanted), "no {wanted} among the registers:\n{panic}");
    }
    ensure!(lower.contains("task 1"), "the task is not named:\n{panic}");
    // Symbols: several functions of the kernel, by their path.
    let named = panic.lines().filter(|line| line.contains("gnomon_kernel::")).count();
    ensure!(named >= 3, "only {named} lines of the backtrace have a name:\n{panic}");
    Ok(())
}

/// A signal that would end another process does not reach an init that has no handler for it: kill(2).
fn survives(m: &mut Machine) -> Result<()> {
    let line = "kill -TERM $$; kill -SEGV $$; kill -KILL $$; echo still here; /bin/busybox poweroff -f";
    m.boot(Boot::of("/bin/sh").arguments(&["-c", line]))?;
    m.expect("still here")?;
    m.expect_power_off()?;
    Ok(())
}

/// An archive with a program that writes to address 0: an ELF header, one program header, two instructions (elf(5)).
fn crash() -> Result<Archive> {
    const HEADERS: u64 = 64 + 56;
    const ADDRESS: u64 = 0x40_0000;
    // xor eax, eax; mov [rax], eax
    let code = [0x31, 0xc0, 0x89, 0x00];
    let half = |value: u16| value.to_le_bytes().to_vec();
    let word = |value: u32| value.to_le_bytes().to_vec();
    let long = |value: u64| value.to_le_bytes().to_vec();
    let length = HEADERS + code.len() as u64;
    let program = [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        // ET_EXEC for x86-64, version 1; where to begin, where the program headers are, no sections.
        [half(2), half(62), word(1), long(ADDRESS + HEADERS), long(64), long(0), word(0)].concat(),
        [half(64), half(56), half(1), half(64), half(0), half(0)].concat(),
        // PT_LOAD, readable and executable: the whole file at ADDRESS, aligned to a page.
        [word(1), word(5), long(0), long(ADDRESS), long(ADDRESS), long(length), long(length), long(0x1000)]
            .concat(),
        code.to_vec(),
    ];
    let mut tree = gnomon_tools::archive::Archive::new();
    tree.file("/crash", 0o755, program.concat())?;
    Archive::of_bytes("crash.cpio", &tree.to_bytes())
}
