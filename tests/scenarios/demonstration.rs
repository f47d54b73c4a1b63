//! The demonstration: it checks itself what it shows, so that booting it is a test.

use super::EVERYWHERE;
use anyhow::{Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("demonstration", &EVERYWHERE, demonstration)]
}

fn demonstration(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("quiet").arguments(&["demonstration"]))?;
    let shown = m.expect_power_off()?;
    ensure!(shown.contains("time:[4026531834]"), "the root namespace is not shown:\n{shown}");
    ensure!(shown.contains(" checks of the above hold."), "it does not say that all holds:\n{shown}");
    // Only our own kernel counts; on it the vDSO's readings must have made none.
    if m.backend() == "qemu" {
        let counted = "as the kernel counts: ";
        let counts: Vec<&str> = shown.split(counted).skip(1).filter_map(|rest| rest.lines().next()).collect();
        ensure!(
            counts.iter().all(|count| *count == "0"),
            "readings by the vDSO made system calls: {counts:?}"
        );
    }
    Ok(())
}
