//! Two outputs of `oracle`, one from Linux and one from a machine of ours: where they differ, and the shortest way there.
//!
//! Linux is always right, but for the rows of [`INTENDED`]: what Gnomon does differently on purpose, each with its reason.
//! A sequence that differs is cut down as long as it goes on differing, and shown with both outcomes, so that what is
//! reported is a handful of calls that a person can type.

use crate::failure::Result;

/// A difference that is meant to be.
pub struct Intended {
    /// The fact, or how it begins: what stands before ` = `, without the task.
    pub fact: &'static str,
    /// What Linux answers.
    pub linux: &'static str,
    /// What Gnomon answers.
    pub gnomon: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Everything that Gnomon does otherwise than Linux on purpose and that the oracle's programs can see.
pub const INTENDED: &[Intended] = &[
    Intended {
        fact: "timens_offsets: monotonic 5 9223372036854775808",
        linux: "ERANGE, \"monotonic           0         0\\nboottime            0         0\\n\"",
        gnomon: "EINVAL, \"monotonic           0         0\\nboottime            0         0\\n\"",
        reason: "Linux up to 6.18 takes such nanoseconds for a negative number, and with other seconds even takes them",
    },
    Intended {
        fact: "clock_nanosleep: behind, clock 7, until 9223372035 s",
        linux: "0",
        gnomon: "Killed(14)",
        reason: "on Linux up to 6.18 a moment less a negative offset overflows, and the sleep ends at once",
    },
    Intended {
        fact: "clock_nanosleep: behind, clock 7, until 9223372036854775807 s",
        linux: "0",
        gnomon: "Killed(14)",
        reason: "the same for the furthest moment there is",
    },
    Intended {
        fact: "nsfs: ioctl 0x8010b70b",
        linux: "EPERM 0",
        gnomon: "EINVAL 0",
        reason: "these programs run in a PID namespace on Linux, from which nobody may ask for the next mount namespace",
    },
    Intended {
        fact: "nsfs: ioctl 0x8010b70c",
        linux: "EPERM 0",
        gnomon: "EINVAL 0",
        reason: "the same for the mount namespace before",
    },
];

/// The row that explains a pair of differing lines.
pub fn intended(linux: &str, gnomon: &str) -> Option<&'static Intended> {
    let (fact, linux) = linux.split_once(" = ")?;
    let (same, gnomon) = gnomon.split_once(" = ")?;
    let call = fact.split_once(": ").map_or(fact, |(_, call)| call);
    let fits = |row: &&Intended| {
        (fact.starts_with(row.fact) || call.starts_with(row.fact))
            && row.linux == linux
            && row.gnomon == gnomon
    };
    INTENDED.iter().filter(|_| fact == same).find(fits)
}

/// What the programs print that is about neither kernel.
fn is_fact(line: &str) -> bool {
    !["gnomon: init", "init: "].iter().any(|other| line.starts_with(other)) && !line.is_empty()
}

/// The lines that are facts.
pub fn facts(output: &str) -> Vec<&str> {
    output.lines().filter(|line| is_fact(line)).collect()
}

/// The sequences in an output: each seed with the lines that follow.
pub fn sequences(output: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in facts(output) {
        match (line.strip_prefix("sequence "), all.last_mut()) {
            (Some(seed), _) => all.push((seed, Vec::new())),
            (None, Some((_, lines))) if !line.ends_with(" sequences done") => lines.push(line),
            _ => {}
        }
    }
    all
}

/// The first line that differs and is not meant to.
///
/// After a difference that is meant to be, the two machines are in different states, and a sequence says no more.
pub fn difference(linux: &[&str], gnomon: &[&str]) -> Option<usize> {
    let count = linux.len().max(gnomon.len());
    let line = (0..count).find(|line| linux.get(*line) != gnomon.get(*line))?;
    match (linux.get(line), gnomon.get(line)) {
        (Some(linux), Some(gnomon)) if intended(linux, gnomon).is_some() => None,
        _ => Some(line),
    }
}

/// All lines that differ, as pairs, without those that are meant to; and the reasons of these.
///
/// For tables, where every line stands alone.
pub fn all_differences(linux: &[&str], gnomon: &[&str]) -> (Vec<String>, Vec<&'static str>) {
    let (mut differing, mut reasons) = (Vec::new(), Vec::new());
    for line in 0..linux.len().max(gnomon.len()) {
        let (one, other) = (linux.get(line).copied(), gnomon.get(line).copied());
        match (one, other) {
            _ if one == other => {}
            (Some(one), Some(other)) if intended(one, other).is_some() => {
                reasons.extend(intended(one, other).map(|row| row.reason));
            }
            _ => differing.push(format!(
                "{}\n    but here {}",
                one.unwrap_or("nothing"),
                other.unwrap_or("nothing")
            )),
        }
    }
    (differing, reasons)
}

/// The steps in the lines of a sequence, without results.
pub fn steps(lines: &[&str]) -> Vec<String> {
    let steps = lines.iter().filter(|line| !line.starts_with(' '));
    steps.filter_map(|line| line.split_once(" = ")).map(|(step, _)| step.to_string()).collect()
}

/// Leaves out steps, many at once first, as long as `differs` says that the rest still makes a difference.
pub fn shrink(
    mut steps: Vec<String>,
    mut differs: impl FnMut(&[String]) -> Result<bool>,
) -> Result<Vec<String>> {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut left_out = false;
        while at < steps.len() {
            let end = (at + size).min(steps.len());
            let rest = [&steps[..at], &steps[end..]].concat();
            if differs(&rest)? {
                steps = rest;
                left_out = true;
            } else {
                at = end;
            }
        }
        // At size one again and again, for a step may be needless only once another is gone.
        size = if size == 1 && left_out { 1 } else { size / 2 };
    }
    Ok(steps)
}

/// Both outcomes as one script: equal lines once, differing ones as two comments.
pub fn both(linux: &[&str], gnomon: &[&str]) -> String {
    let mut text = String::new();
    for line in 0..linux.len().max(gnomon.len()) {
        match (linux.get(line), gnomon.get(line)) {
            (Some(one), Some(other)) if one == other => text += &format!("    {}\n", as_c(one)),
            (one, other) => {
                let shown = |line: Option<&&str>| line.map_or("nothing".into(), |line| as_c(line));
                text += &format!("  ! {}\n  ! but here: {}\n", shown(one), shown(other));
            }
        }
    }
    text
}

/// A line as C would have it: the result in a comment.
fn as_c(line: &str) -> String {
    match line.split_once(" = ") {
        Some((step, result)) => format!("{step}; // {result}"),
        None => format!("  // {}", line.trim_start()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "gnomon: init at 0.01 s\nsequence 7\n  a: n0 n0 0 0\na: unshare(CLONE_NEWTIME) = 0\n  a: n0 n1 0 0\n\
                          sequence 8\na: clocks() = unshifted\n2 sequences done\ninit: exit status 0\n";

    #[test]
    fn an_output_is_cut_into_sequences() {
        let all = sequences(OUTPUT);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].0, "7");
        assert_eq!(steps(&all[0].1), ["a: unshare(CLONE_NEWTIME)"]);
        assert_eq!(all[1].1, ["a: clocks() = unshifted"]);
    }

    #[test]
    fn a_difference_is_seen_also_in_what_is_missing() {
        assert_eq!(difference(&["a", "b"], &["a", "b"]), None);
        assert_eq!(difference(&["a", "b"], &["a", "c"]), Some(1));
        assert_eq!(difference(&["a", "b"], &["a"]), Some(1));
        assert_eq!(difference(&[], &["a"]), Some(0));
    }

    #[test]
    fn what_is_meant_to_differ_has_a_reason() {
        let row = &INTENDED[0];
        let [linux, gnomon] = [row.linux, row.gnomon].map(|result| format!("{} = {result}", row.fact));
        let (differing, reasons) = all_differences(&["x = 1", &linux], &["x = 2", &gnomon]);
        assert_eq!((differing.len(), reasons), (1, vec![row.reason]));
        assert_eq!(all_differences(&[&linux], &["another = EINVAL"]).0.len(), 1);
    }

    #[test]
    fn only_needed_steps_remain() {
        let steps: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let needed = ["3", "17", "18"];
        let shrunk =
            shrink(steps, |rest| Ok(needed.iter().all(|step| rest.iter().any(|other| other == step))));
        assert_eq!(shrunk.unwrap(), needed);
    }

    #[test]
    fn a_script_shows_both_outcomes() {
        let text = both(&["a: f() = 0", "  a: n0"], &["a: f() = EPERM", "  a: n0"]);
        assert_eq!(text, "  ! a: f(); // 0\n  ! but here: a: f(); // EPERM\n      // a: n0\n");
    }
}
