//! `gnomon`: the program behind every `make` target. One command a line below; the work is in the library.

use anyhow::Result;
use clap::{Parser, Subcommand};
use gnomon_tools::{bench, check, gdb, image, run, setup, support, test, user_mode, vdso, workspace};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Builds, boots and tests the Gnomon kernel.
#[derive(Parser)]
#[command(name = "gnomon", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring what the machine lacks: QEMU, busybox, the compiler for bare metal, what the tests need
    Setup,
    /// Build target/image/{vdso.so,gnomon.elf,gnomon-um,initramfs.cpio} and nothing else
    Image {
        /// Build the kernels without time namespaces, into target/image-without-time-ns/
        #[arg(long)]
        without_time_ns: bool,
    },
    /// Build target/image/debian.cpio: an archive with Debian's own dynamically linked programs
    Debian,
    /// Boot the image: a shell on a terminal, the demonstration for anything else
    Run {
        #[command(flatten)]
        options: run::Options,
        /// Seconds until a machine that nobody types at is stopped
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
    /// Run the user-mode machine, without an emulator: a shell on a terminal, the demonstration for anything else
    Um {
        #[command(flatten)]
        options: user_mode::Options,
        /// Seconds until a machine that nobody types at is stopped
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
    /// Write target/support.md: every system call, what of it there is, and which self-tests make it
    Support,
    /// Run every test
    Test,
    /// Compare random sequences of calls on this host's Linux and on both machines
    Oracle {
        /// How many sequences
        #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
        sequences: u32,
    },
    /// Call every system call with arguments by chance, on both machines
    Sweep {
        /// For how many seconds on each
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        seconds: u32,
    },
    /// Measure Gnomon beside Debian's Linux, user-mode Linux and this host, and print ratios
    Bench(bench::Options),
    /// Look at format, lints and documentation, warnings counting as errors
    Check,
    /// Boot the image under gdb, stopped before its first instruction
    Gdb(run::Options),
    /// Check a vDSO image and count the instructions of its functions, beside Linux's
    Vdso {
        /// The image
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gnomon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::everything(),
        Command::Image { without_time_ns } => {
            image::build(workspace::Variant::new(!without_time_ns), &image::ALL).map(drop)
        }
        Command::Debian => image::debian_archive().map(drop),
        Command::Run { options, timeout } => run::run(&options, Duration::from_secs(timeout)),
        Command::Um { options, timeout } => user_mode::run(&options, Duration::from_secs(timeout)),
        Command::Support => support::write(),
        Command::Test => test::everything(),
        Command::Oracle { sequences } => test::oracle(sequences),
        Command::Sweep { seconds } => test::sweep(seconds),
        Command::Bench(options) => bench::run(&options),
        Command::Check => check::everything(),
        Command::Gdb(options) => gdb::run(&options),
        Command::Vdso { file } => vdso::main(&[file.into()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn words_reach_the_kernel_and_init() {
        let line = "gnomon run --append quiet --memory 64M --machine microvm --smp 2 -- run /bin/date -u";
        let Command::Run { options, timeout } = Arguments::parse_from(line.split(' ')).command else {
            panic!()
        };
        let machine = options.machine("/i".into());
        assert_eq!(machine.command_line().unwrap(), "console=ttyS0 quiet -- run /bin/date -u");
        assert_eq!((machine.memory.as_str(), machine.processors, timeout), ("64M", 2, 120));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["gnomon run --smp 0", "gnomon run --machine z80", "gnomon run demonstration", "gnomon fly"]
        {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
