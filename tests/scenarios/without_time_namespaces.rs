//! The build without time namespaces: it runs, refuses as Linux without TIME_NS does, and carries none of the code.

use super::boot::FIRST_LINE;
use super::{BARE_METAL, GNOMON};
use anyhow::{Context, Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tests::symbols::Symbols;
use gnomon_tools::workspace::Variant;
use std::process::Command;

const WITHOUT: Variant = Variant::WithoutTimeNamespaces;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("without_time_namespaces_programs_run", &GNOMON, programs_run),
        scenario("without_time_namespaces_no_code_is_left", &BARE_METAL, no_code_is_left),
    ]
}

/// EINVAL and not EPERM or ENOSYS for who has the capability; no files in /proc that speak of it.
fn programs_run(m: &mut Machine) -> Result<()> {
    m.boot(Boot { kernel: WITHOUT, ..Boot::interactive() })?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    m.command_prints("echo hi | cat", "hi")?;
    m.command_prints("/bin/unshare --time true 2>&1 | grep -o 'Invalid argument'", "Invalid argument")?;
    m.command_prints("ls /proc/self/ns | grep -c time", "0")?;
    m.command_prints(
        "ls /proc/self/timens_offsets 2>&1 | grep -o 'No such file or directory'",
        "No such file or directory",
    )?;
    m.command_prints("clocks > /dev/null && echo fine", "fine")?;
    m.type_line("exit")?;
    m.expect_power_off()?;
    Ok(())
}

/// Modules of the kernel that only the mechanism needs, as they show in symbols.
const MODULES: [&str; 5] =
    ["::ns::time::", "::ns::offsets::", "::ns::translate::", "::ns::vvar::", "timens_offsets"];

/// The marker of a namespace's page, `clock_mode` = INT_MAX: the vDSO must compare with it, or know nothing of it.
const MARKER: &str = "$0x7fffffff,";

fn no_code_is_left(_: &mut Machine) -> Result<()> {
    let symbols = |variant: Variant| Symbols::read(&variant.image_directory().join("gnomon.elf"));
    let count = |all: &Symbols, module: &str| all.names().filter(|name| name.contains(module)).count();
    let (with, without) = (symbols(Variant::WithTimeNamespaces)?, symbols(WITHOUT)?);
    // What is looked for must be in the other build, or not finding it here means nothing.
    let there: usize = MODULES.iter().map(|module| count(&with, module)).sum();
    ensure!(
        there > 5,
        "only {there} symbols of the mechanism are in the build that has it: has it been renamed?"
    );
    for module in MODULES {
        let left: Vec<&str> = without.names().filter(|name| name.contains(module)).collect();
        ensure!(
            left.is_empty(),
            "the kernel without time namespaces has code of {module}:\n{}",
            left.join("\n")
        );
    }
    ensure!(
        markers(Variant::WithTimeNamespaces)? > 0,
        "the vDSO does not compare with the marker: has it changed?"
    );
    let left = markers(WITHOUT)?;
    ensure!(left == 0, "the vDSO without time namespaces has the marker {left} times");
    Ok(())
}

/// How often the vDSO's code compares something with the marker, by objdump(1): the same number is also a mask.
fn markers(variant: Variant) -> Result<usize> {
    let image = variant.image_directory().join("vdso.so");
    let output = Command::new("objdump").arg("--disassemble").arg(&image).output();
    let output = output.context("cannot start objdump (it comes with binutils)")?;
    ensure!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    let code = String::from_utf8_lossy(&output.stdout);
    ensure!(code.contains("<__vdso_clock_gettime"), "objdump shows no clock_gettime");
    Ok(code.lines().filter(|line| line.contains("cmp") && line.contains(MARKER)).count())
}
