//! How long machines take from the start of their process to init's first line, and to a shell's prompt.

use super::console::Console;
use super::group::Group;
use super::measure::Bench;
use super::peer::{Errand, Peer};
use super::series::{Series, Unit};
use crate::command::say;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// What our init says first, and what busybox's shell says when it wants to be typed at.
const MOMENTS: [(&str, &str); 2] = [("init's first line", "init at "), ("shell's prompt", "# ")];

const PEERS: [Peer; 6] =
    [Peer::Gnomon, Peer::Linux, Peer::GnomonMicrovm, Peer::LinuxMicrovm, Peer::UserMode, Peer::UserModeLinux];

/// Boots each machine so many times, in turns.
pub fn measure(bench: &mut Bench, boots: u32) -> Result<()> {
    let peers = bench.present(&PEERS);
    let mut times: BTreeMap<(Peer, &str), Vec<f64>> = BTreeMap::new();
    for boot in 1..=boots {
        say(format_args!("boot: {boot} of {boots}, {} machines", peers.len()));
        for &peer in &peers {
            let errand = Errand { init: Vec::new(), measure: Vec::new(), counted: false, memory: 256 };
            let mut console =
                Console::start(&mut bench.kit.command(peer, &errand)?, Duration::from_secs(120))?;
            for (moment, text) in MOMENTS {
                let time = console.wait_for(text).with_context(|| format!("booting {}", peer.name()))?;
                times.entry((peer, moment)).or_default().push(time.as_secs_f64() * 1000.0);
            }
        }
    }
    for (moment, _) in MOMENTS {
        for &peer in &peers {
            let samples = times.remove(&(peer, moment)).unwrap_or_default();
            bench.series.extend(Series::new(Group::Boot, peer, moment, Unit::Milliseconds, samples));
        }
    }
    Ok(())
}
