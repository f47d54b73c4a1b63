//! Every scenario on every machine: `cargo test -p gnomon-tests --test scenarios [FILTER]`.

use gnomon_tests::{figures, scenario::Scenario};
use libtest_mimic::Arguments;
use std::process::ExitCode;

mod bench;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine at a time: two emulated ones on two cores make every wait and every figure worse.
    arguments.test_threads.get_or_insert(1);
    let scenarios: Vec<Scenario> = [bench::scenarios()].into_iter().flatten().collect();
    let trials = scenarios.into_iter().flat_map(Scenario::trials).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    figures::print_all();
    conclusion.exit_code()
}
