//! Running the measuring program on the machines, and keeping what it said.

use super::console::Console;
use super::group::{self, Group};
use super::host::Host;
use super::peer::{Errand, FOLDER, Kit, Peer};
use super::series::{Line, Series, Unit};
use crate::command::say;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long one machine may take. Ten thousand tasks under QEMU take a minute on a quiet host.
const LIMIT: Duration = Duration::from_secs(900);

/// A run of the bench: the machines, and what has been measured.
pub struct Bench {
    /// What the machines are started from.
    pub kit: Kit,
    /// What they run on.
    pub host: Host,
    /// Every row so far.
    pub series: Vec<Series>,
    /// What could not be measured, and why: machine, row, reason.
    pub absent: Vec<(Peer, String, String)>,
}

/// Samples by row, and the order in which the rows came.
#[derive(Default)]
struct Rows {
    order: Vec<String>,
    samples: BTreeMap<String, (String, Vec<f64>)>,
}

impl Rows {
    fn add(&mut self, row: String, unit: String, samples: Vec<f64>) {
        if !self.samples.contains_key(&row) {
            self.order.push(row.clone());
        }
        self.samples.entry(row).or_insert((unit, Vec::new())).1.extend(samples);
    }
}

/// A script's name in the archive.
fn script(group: Group, counted: bool) -> String {
    format!("{}-{}", group.name(), group.speed(counted))
}

/// Arguments of the measuring program.
fn arguments(group: Group, counted: bool) -> Vec<String> {
    let speed = group.speed(counted).to_string();
    ["--samples", "--speed", &speed, group.name()].map(String::from).to_vec()
}

impl Bench {
    /// Brings and builds everything.
    pub fn new(host: Host, cpu: usize) -> Result<Bench> {
        let mut scripts = BTreeMap::new();
        for group in group::ALL.into_iter().filter(|group| *group != Group::Boot) {
            for counted in [false, true] {
                let line = format!("/bin/measure {}", arguments(group, counted).join(" "));
                scripts.insert(script(group, counted), line);
            }
        }
        let scripts: Vec<_> = scripts.into_iter().collect();
        let kit = Kit::new(&scripts, cpu, host.ticks_per_nanosecond)?;
        for peer in [Peer::Linux, Peer::UserModeLinux] {
            if let Some(why) = kit.obstacle(peer) {
                say(format_args!("{} is not measured: {why}", peer.name()));
            }
        }
        Ok(Bench { kit, host, series: Vec::new(), absent: Vec::new() })
    }

    /// Those of these machines that are there.
    pub fn present(&self, peers: &[Peer]) -> Vec<Peer> {
        peers.iter().copied().filter(|peer| self.kit.obstacle(*peer).is_none()).collect()
    }

    /// A group on machines whose times are compared, taking turns.
    pub fn in_turns(&mut self, group: Group, peers: &[Peer], rounds: u32) -> Result<()> {
        let peers = self.present(peers);
        let mut rows: BTreeMap<Peer, Rows> = BTreeMap::new();
        for round in 0..rounds as usize {
            for turn in 0..peers.len() {
                // Another begins each round: who comes first after a pause finds the processor in another state.
                let peer = peers[(round + turn) % peers.len()];
                let heading = format!("{}: round {} of {rounds}, {}", group.name(), round + 1, peer.name());
                self.collect(peer, group, false, &heading, rows.entry(peer).or_default())?;
            }
        }
        for peer in peers {
            self.keep(peer, group, rows.remove(&peer).unwrap_or_default());
        }
        Ok(())
    }

    /// A group on the machines whose instructions are counted: once, because it comes out the same each time.
    pub fn counted(&mut self, group: Group) -> Result<()> {
        for peer in self.present(&[Peer::Gnomon, Peer::Linux]) {
            let mut rows = Rows::default();
            let heading = format!("{}: counting instructions of {}", group.name(), peer.name());
            self.collect(peer, group, true, &heading, &mut rows)?;
            self.keep(peer, group, rows);
        }
        Ok(())
    }

    /// One run of the measuring program.
    fn collect(
        &mut self,
        peer: Peer,
        group: Group,
        counted: bool,
        heading: &str,
        rows: &mut Rows,
    ) -> Result<()> {
        say(heading);
        let begin = Instant::now();
        let errand = Errand {
            init: vec!["run".into(), format!("/{FOLDER}/{}", script(group, counted))],
            measure: arguments(group, counted),
            counted,
            // Ten thousand of Linux's tasks do not fit into 512 MiB.
            memory: if group == Group::Growth { 1536 } else { 512 },
        };
        let mut command = self.kit.command(peer, &errand)?;
        let mut console = Console::start(&mut command, LIMIT)?;
        let mut found = false;
        while let Some(line) = console.line().with_context(|| heading.to_string())? {
            match Line::parse(&line) {
                Some(Line::Samples { row, unit, samples }) => rows.add(row, unit, samples),
                Some(Line::Absent { row, reason }) => {
                    if !self.absent.iter().any(|(other, name, _)| *other == peer && *name == row) {
                        self.absent.push((peer, row, reason));
                    }
                }
                None => continue,
            }
            found = true;
        }
        anyhow::ensure!(found, "{heading}: the machine ended without a figure");
        if begin.elapsed() > Duration::from_secs(10) {
            say(format_args!("  that took {:.0?}", begin.elapsed()));
        }
        Ok(())
    }

    fn keep(&mut self, peer: Peer, group: Group, mut rows: Rows) {
        for row in rows.order {
            let Some((unit, mut samples)) = rows.samples.remove(&row) else { continue };
            let unit = match unit.as_str() {
                "bytes" => Unit::Bytes,
                "ticks" if peer.is_emulated() => Unit::Instructions,
                "ticks" => {
                    samples.iter_mut().for_each(|sample| *sample /= self.host.ticks_per_nanosecond);
                    Unit::Nanoseconds
                }
                _ if group == Group::Lateness => {
                    samples.iter_mut().for_each(|sample| *sample /= 1e3);
                    Unit::Microseconds
                }
                _ => Unit::Nanoseconds,
            };
            self.series.extend(Series::new(group, peer, &row, unit, samples));
        }
    }
}
