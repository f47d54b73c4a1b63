//! Booting: every machine with every firmware, small and large, one processor and more, to init and to a clean end.
//! A machine that is a process has nothing of this but its size.

use super::{BARE_METAL, USER_MODE};
use anyhow::{Result, ensure};
use gnomon_tests::boot::{Boot, Hardware};
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tools::machine::{Board, Firmware};
use std::time::Duration;

/// What init says first.
pub const FIRST_LINE: &str = "gnomon: init at ";

const BOARDS: [(&str, Board); 3] = [("q35", Board::Q35), ("pc", Board::Pc), ("microvm", Board::Microvm)];
const FIRMWARES: [(&str, Firmware); 2] = [("seabios", Firmware::Seabios), ("qboot", Firmware::Qboot)];
const PROCESSORS: [&str; 2] = ["qemu64", "max"];

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, board) in BOARDS {
        for (bios, firmware) in FIRMWARES {
            for processor in PROCESSORS {
                let hardware = Hardware { board, firmware, processor, ..Hardware::default() };
                // The least memory that is promised with one processor, and more of both.
                all.push(scenario(format!("boot_{name}_{bios}_{processor}"), &BARE_METAL, move |m| {
                    to_init_and_back(m, Hardware { memory_mib: 64, processors: 1, ..hardware })?;
                    to_init_and_back(m, Hardware { memory_mib: 1024, processors: 2, ..hardware })
                }));
            }
        }
        // RAM above 4 GiB lies behind a hole, and its addresses do not fit into 32 bits.
        let large = Hardware { board, memory_mib: 5 * 1024, ..Hardware::default() };
        all.push(scenario(format!("boot_{name}_5_gib"), &BARE_METAL, move |m| {
            to_init_and_back(m, large)?;
            let total = memory_total_kib(m, large)?;
            ensure!(total > 4_800_000, "of 5 GiB only {total} KiB are there");
            Ok(())
        }));
    }
    let plain = Hardware { board: Board::Microvm, acpi: false, ..Hardware::default() };
    all.push(scenario("boot_microvm_without_acpi", &BARE_METAL, move |m| {
        to_init_and_back(m, plain)?;
        to_init_and_back(m, Hardware { processors: 2, memory_mib: 64, ..plain })
    }));
    // More processors than the kernel has places for must not keep it from booting.
    let many = Hardware { processors: 12, ..Hardware::default() };
    all.push(scenario("boot_12_processors", &BARE_METAL, move |m| to_init_and_back(m, many)));
    for (name, board) in BOARDS {
        let hardware = Hardware { board, exit_device: false, ..Hardware::default() };
        all.push(scenario(format!("power_off_without_exit_device_{name}"), &BARE_METAL, move |m| {
            m.boot(Boot::default().hardware(hardware).arguments(&["run", "/bin/true"]))?;
            m.expect("init: exit status 0")?;
            m.expect_stand_still()
        }));
    }
    all.push(scenario("boot_small_and_large", &USER_MODE, |m| {
        for (memory_mib, least, most) in [(64, 40_000, 65_536), (5 * 1024, 4_800_000, 5 << 20)] {
            let hardware = Hardware { memory_mib, ..Hardware::default() };
            to_init_and_back(m, hardware)?;
            let total = memory_total_kib(m, hardware)?;
            ensure!((least..=most).contains(&total), "of {memory_mib} MiB {total} KiB are there");
        }
        Ok(())
    }));
    all
}

/// Boots, sees init's first line and a program's success, and powers off with the status that says so.
fn to_init_and_back(m: &mut Machine, hardware: Hardware) -> Result<()> {
    m.boot(Boot::default().hardware(hardware).arguments(&["run", "/bin/true"]))?;
    m.expect(FIRST_LINE)?;
    m.expect("init: exit status 0")?;
    m.expect_power_off()?;
    Ok(())
}

/// `MemTotal` of /proc/meminfo.
fn memory_total_kib(m: &mut Machine, hardware: Hardware) -> Result<u64> {
    m.patience(Duration::from_secs(60));
    m.boot(Boot::default().hardware(hardware).arguments(&["run", "/bin/cat", "/proc/meminfo"]))?;
    m.expect("MemTotal:")?;
    let total = m.expect("kB")?.trim().parse()?;
    m.expect_power_off()?;
    Ok(total)
}
