//! The kernel under a debugger: QEMU stopped before the first instruction, gdb attached, symbols loaded.
//!
//! QEMU answers gdb itself, so the kernel needs no help and can be debugged from its very first instruction. The first
//! breakpoint must be a hardware one: until the kernel has built its page tables there is nothing to write an
//! `int3` into at the addresses it was linked for.

use crate::command::{self, say};
use crate::machine::Console;
use crate::run::Options;
use crate::workspace::{self, shown};
use crate::{image, setup, terminal};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The function where the first `continue` stops: the first of the kernel proper.
const FIRST_STOP: &str = "gnomon_kernel::start";

/// Builds the image and gives the terminal to gdb until the person leaves it.
pub fn run(options: &Options) -> Result<()> {
    setup::packages::install(&setup::packages::MACHINE)?;
    setup::packages::install(&setup::packages::DEBUGGER)?;
    let image = image::build(options.variant(), &[image::Kernel::BareMetal])?;
    let kernel = image.join("gnomon.elf");
    let folder = workspace::target("gdb");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join("console.log");

    let mut machine = options.machine(image);
    machine.console = Console::File(log.clone());
    if machine.init.is_empty() {
        // The console is a file, so nobody could type at a shell.
        machine.init = vec!["demonstration".into()];
    }
    let port = free_port()?;
    machine.more = ["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")].map(String::from).to_vec();

    let mut qemu = machine.command()?;
    // A group of its own: control-C is for gdb, and would otherwise end QEMU.
    qemu.stdin(Stdio::null()).process_group(0);
    terminal::end_with_us(&mut qemu);
    let mut qemu = qemu.spawn().context("cannot start QEMU")?;
    say(format_args!("the machine's console is {}", shown(&log)));
    // We must outlive gdb; it takes the signal itself.
    let _told = terminal::told_to_end()?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-nx"]).arg(&kernel).args(["-ex", "set confirm off"]);
    gdb.args(["-ex", &format!("target remote 127.0.0.1:{port}"), "-ex", &format!("hbreak {FIRST_STOP}")]);
    let result = command::run(&mut gdb, "gdb failed");
    // gdb's `kill` or the machine's own end may have been first.
    let _ = qemu.kill();
    qemu.wait()?;
    result
}

/// A port nobody uses: the system picks one. Another program could take it before QEMU does; then QEMU says so.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port for gdb")?;
    Ok(listener.local_addr()?.port())
}
