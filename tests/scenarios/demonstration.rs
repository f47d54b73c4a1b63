//! The demonstration: it checks itself what it shows, so that booting it is a test.

use super::{EVERYWHERE, GNOMON};
use anyhow::{Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("demonstration", &EVERYWHERE, demonstration),
        scenario("demonstration_that_fails", &GNOMON, fails),
        scenario("init_without_sense", &GNOMON, without_sense),
    ]
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

/// A demonstration that finds something wrong is no power-off, so that whoever started the machine learns of it.
fn fails(m: &mut Machine) -> Result<()> {
    let mut tree = Archive::default_tree()?;
    tree.file("/bin/demonstration", 0o755, "#!/bin/sh\necho one check fails; exit 1\n".into())?;
    let archive = Archive::of_bytes("failing-demonstration.cpio", &tree.to_bytes())?;
    m.boot(Boot::default().word("quiet").archive(archive).arguments(&["demonstration"]))?;
    m.expect("one check fails")?;
    m.expect_panic("Attempted to kill init! exitcode=0x00000100")?;
    Ok(())
}

fn without_sense(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("quiet").arguments(&["demonstrate"]))?;
    m.expect("`demonstrate` is none of: demonstration, run COMMAND")?;
    m.expect_panic("Attempted to kill init! exitcode=0x00000100")?;
    Ok(())
}
