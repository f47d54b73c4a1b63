//! Every scenario on every machine: `cargo test -p gnomon-tests --test scenarios [FILTER]`.
//!
//! The names are `scenario::backend`, so `::linux` filters as well as `shell_` does. Machines run one at a time: two
//! emulated ones on two cores make every wait and every figure worse.

use gnomon_tests::backend::{Backend, Linux, Qemu, UserMode};
use gnomon_tests::figures;
use gnomon_tests::scenario::Scenario;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

mod bench;
mod boot;
mod boot_time;
mod command_line;
mod debian_programs;
mod demonstration;
mod front_door;
mod full_screen;
mod initrd;
mod instructions;
mod lateness;
mod memory;
mod oracle;
mod panic;
mod programs;
mod runtimes;
mod selftests;
mod shell;
mod sweep;
mod user_mode;
mod virtual_time;
mod without_notifications;
mod without_time_namespaces;

/// Our kernel on bare metal, for what is about hardware.
const BARE_METAL: [&'static dyn Backend; 1] = [&Qemu::Gnomon];

/// Our kernel as a process.
const USER_MODE: [&'static dyn Backend; 2] = [&UserMode::Ourselves, &UserMode::Nobody];

/// Our kernel on any machine.
const GNOMON: [&'static dyn Backend; 3] = [&UserMode::Ourselves, &UserMode::Nobody, &Qemu::Gnomon];

/// Every machine that runs the default archive.
const EVERYWHERE: [&'static dyn Backend; 4] =
    [&Linux, &UserMode::Ourselves, &UserMode::Nobody, &Qemu::Gnomon];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    // In the order in which a failure explains the later ones.
    let scenarios = [
        bench::scenarios(),
        boot::scenarios(),
        command_line::scenarios(),
        panic::scenarios(),
        demonstration::scenarios(),
        shell::scenarios(),
        full_screen::scenarios(),
        initrd::scenarios(),
        memory::scenarios(),
        debian_programs::scenarios(),
        runtimes::scenarios(),
        instructions::scenarios(),
        lateness::scenarios(),
        virtual_time::scenarios(),
        oracle::scenarios(),
        sweep::scenarios(),
        without_time_namespaces::scenarios(),
        boot_time::scenarios(),
    ];
    let mut trials: Vec<Trial> = scenarios.into_iter().flatten().flat_map(Scenario::trials).collect();
    trials.extend(front_door::trials());
    trials.extend(virtual_time::trials());
    trials.extend(user_mode::trials());
    trials.extend(without_notifications::trials());
    trials.extend(selftests::trials(&arguments));
    let conclusion = libtest_mimic::run(&arguments, trials);
    figures::print_all();
    conclusion.exit_code()
}
