//! Linux as the oracle: the same programs on this host's kernel and on our machines must print the same facts.
//!
//! 300 random sequences belong to every run; `GNOMON_SEQUENCES=10000` in the environment (`make oracle`) asks for more. A
//! boot takes hundreds of them, because every machine first waits until its uptime can be told from small offsets.

use super::GNOMON;
use anyhow::{Result, bail, ensure};
use gnomon_tests::backend::{Backend, Linux};
use gnomon_tests::boot::Boot;
use gnomon_tests::failure::skip;
use gnomon_tests::figures;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::oracle::{all_differences, both, difference, facts, sequences, shrink, steps};
use gnomon_tests::scenario::{Scenario, scenario};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("oracle_tables", &GNOMON, tables), scenario("oracle_random", &GNOMON, random)]
}

/// Says how many sequences to try.
const VARIABLE: &str = "GNOMON_SEQUENCES";
/// How many without it.
const SEQUENCES: usize = 300;
/// How many run in one boot.
const BATCH: usize = 500;
/// The seed of the first. Not zero, so that a forgotten argument shows.
const FIRST_SEED: usize = 1;
/// Differences that are cut down and shown; more would take long and say little.
const SHOWN: usize = 4;

/// What `oracle` with these arguments prints on a machine.
fn printed(m: &mut Machine, arguments: &[&str]) -> Result<String> {
    m.patience(Duration::from_secs(300));
    let words = [&["run", "/bin/oracle"], arguments].concat();
    m.boot(Boot::default().word("quiet").arguments(&words))?;
    let text = m.expect_power_off()?;
    ensure!(text.contains("init: exit status 0"), "oracle {}:\n{text}", arguments.join(" "));
    Ok(text)
}

/// What Linux prints, asked once for all our machines.
fn linux(arguments: &[&str]) -> Result<String> {
    static PRINTED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    if let Some(reason) = Linux.obstacle() {
        return skip(format!("no Linux to compare with: {reason}"));
    }
    let mut all = PRINTED.lock().expect("no holder of this lock panics");
    let key = arguments.join(" ");
    if let Some(text) = all.get(&key) {
        return Ok(text.clone());
    }
    let text = printed(&mut Machine::new(&Linux, "oracle"), arguments)?;
    all.insert(key, text.clone());
    Ok(text)
}

fn tables(m: &mut Machine) -> Result<()> {
    let (theirs, ours) = (linux(&["tables"])?, printed(m, &["tables"])?);
    let (theirs, ours) = (facts(&theirs), facts(&ours));
    ensure!(theirs.len() > 1000, "only {} facts", theirs.len());
    let (differing, reasons) = all_differences(&theirs, &ours);
    figures::note(format!(
        "oracle_tables::{}: {} facts, {} differ on purpose",
        m.backend(),
        theirs.len(),
        reasons.len()
    ));
    ensure!(
        differing.is_empty(),
        "{} facts differ from Linux:\n  {}",
        differing.len(),
        differing.join("\n  ")
    );
    Ok(())
}

fn random(m: &mut Machine) -> Result<()> {
    let wanted = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SEQUENCES);
    let mut judge = Judge::new(m.backend());
    let mut tried = 0;
    while tried < wanted && judge.differences.len() < SHOWN {
        let count = BATCH.min(wanted - tried);
        let arguments = ["random", &(FIRST_SEED + tried).to_string(), &count.to_string()];
        let (theirs, ours) = (linux(&arguments)?, printed(m, &arguments)?);
        let (theirs, ours) = (sequences(&theirs), sequences(&ours));
        ensure!(
            theirs.len() == count && ours.len() == count,
            "not all sequences of {arguments:?} were printed"
        );
        for ((seed, theirs), (_, ours)) in theirs.iter().zip(&ours) {
            if difference(theirs, ours).is_some() && judge.differences.len() < SHOWN {
                judge.look_into(m, seed, theirs)?;
            }
        }
        tried += count;
    }
    let (differing, unsteady) = (judge.differences.len(), judge.unsteady);
    figures::note(format!(
        "oracle_random::{}: {tried} sequences, {differing} that differ from Linux, {unsteady} that differed once and not again",
        m.backend()
    ));
    match judge.differences.as_slice() {
        [] => Ok(()),
        all => bail!("{differing} of {tried} sequences differ from Linux:\n{}", all.join("\n")),
    }
}

/// Tries differing sequences again, on two shells that stay: one on Linux, one on the machine in question.
struct Judge {
    shells: Option<[Machine; 2]>,
    backend: &'static str,
    differences: Vec<String>,
    unsteady: usize,
}

impl Judge {
    fn new(backend: &'static str) -> Judge {
        Judge { shells: None, backend, differences: Vec::new(), unsteady: 0 }
    }

    /// Runs a sequence again, cuts it down, and keeps what remains of it for the report.
    fn look_into(&mut self, m: &Machine, seed: &str, lines: &[&str]) -> Result<()> {
        let all = steps(lines);
        // A busy host can make one reading late. What differs three times in a row does so for a reason.
        for _ in 0..3 {
            if !self.differs(m, &all)? {
                self.unsteady += 1;
                figures::note(format!(
                    "oracle_random::{}: sequence {seed} differed once and not again",
                    self.backend
                ));
                return Ok(());
            }
        }
        let script = shrink(all, |rest| self.differs(m, rest))?;
        let [linux, ours] = self.replay(m, &script)?;
        let text = both(&facts(&linux), &facts(&ours));
        self.differences
            .push(format!("sequence {seed}, cut down (what is marked is Linux's, then ours):\n{text}"));
        Ok(())
    }

    fn differs(&mut self, m: &Machine, steps: &[String]) -> Result<bool> {
        let [linux, ours] = self.replay(m, steps)?;
        Ok(difference(&facts(&linux), &facts(&ours)).is_some())
    }

    /// What the steps print on Linux and on the machine.
    fn replay(&mut self, m: &Machine, steps: &[String]) -> Result<[String; 2]> {
        if self.shells.is_none() {
            let mut shells = [Machine::new(&Linux, "oracle_shell"), m.another("oracle_shell")];
            for shell in &mut shells {
                shell.boot(Boot::interactive())?;
                shell.expect(PROMPT)?;
            }
            self.shells = Some(shells);
        }
        let shells = self.shells.as_mut().expect("made above");
        let mut printed = Vec::new();
        for shell in shells {
            shell.command(": > /tmp/script")?;
            for step in steps {
                shell.command(&format!("echo '{step}' >> /tmp/script"))?;
            }
            printed.push(shell.command("oracle replay /tmp/script")?);
        }
        Ok([printed.remove(0), printed.remove(0)])
    }
}
