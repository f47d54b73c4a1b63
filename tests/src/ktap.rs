//! KTAP: the test protocol the selftests speak, read strictly.
//!
//! Source: the KTAP specification, version 1 (docs.kernel.org, "The Kernel Test Anything Protocol"). A run is a version
//! line, a plan `1..N`, and N result lines `ok I - what` or `not ok I - what`, each with an optional directive
//! `# SKIP why`. A nested run is indented by two spaces and belongs to the result line that follows it.
//!
//! Strict where a lenient reader would pass a broken program: a plan that is missing or not fulfilled, a number out of
//! order, a parent that says `ok` over a failed child, are all failures. Lines that are no KTAP are diagnostics and are
//! ignored, as the specification asks, because a console carries kernel messages too.

/// What one result line said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `ok`
    Passed,
    /// `not ok`
    Failed,
    /// `ok … # SKIP why`
    Skipped,
}

/// What a whole run said.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of result lines that passed, over all levels.
    pub passed: usize,
    /// Text of each skipped line, with its reason.
    pub skipped: Vec<String>,
    /// One line for each thing wrong: a `not ok` line, or a rule of the protocol that was broken.
    pub failures: Vec<String>,
}

impl Report {
    /// True when nothing failed and something was said at all.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && (self.passed > 0 || !self.skipped.is_empty())
    }
}

/// One level of nesting while it is being read.
#[derive(Default)]
struct Level {
    planned: Option<usize>,
    seen: usize,
    failed: bool,
    skipped_whole: bool,
}

/// Reads one program's output.
pub fn parse(text: &str) -> Report {
    let mut report = Report::default();
    let mut levels: Vec<Level> = Vec::new();
    // Set when a level closed: did anything inside it fail? The parent's next line must agree.
    let mut inner_failed: Option<bool> = None;

    for line in text.lines() {
        let line = line.trim_end();
        let body = line.trim_start_matches(' ');
        let depth = (line.len() - body.len()) / 2;
        let Some(item) = Item::read(body) else { continue };
        while levels.len() > depth + 1 {
            inner_failed = Some(close(levels.pop().expect("longer than one"), depth + 1, &mut report));
        }
        if matches!(item, Item::Version) && levels.len() == depth {
            levels.push(Level::default());
            continue;
        }
        // A line deeper than any open level is a program's own indented text, not a result.
        let Some(level) = levels.get_mut(depth) else { continue };
        match item {
            Item::Version => report.failures.push(format!("a second version line: {line}")),
            Item::Plan { .. } if level.planned.is_some() => {
                report.failures.push(format!("a second plan: {line}"));
            }
            Item::Plan { count, skipped } => {
                level.planned = Some(count);
                if let Some(reason) = skipped {
                    level.skipped_whole = true;
                    report.skipped.push(reason);
                }
            }
            Item::Outcome { verdict, number, text } => {
                level.seen += 1;
                if number != level.seen {
                    report.failures.push(format!("result {number} where {} was due: {body}", level.seen));
                }
                match verdict {
                    Verdict::Passed if inner_failed == Some(true) => {
                        level.failed = true;
                        report.failures.push(format!("says ok over a failed test inside it: {body}"));
                    }
                    Verdict::Passed => report.passed += 1,
                    Verdict::Skipped => report.skipped.push(text),
                    Verdict::Failed => {
                        level.failed = true;
                        report.failures.push(body.to_string());
                    }
                }
                inner_failed = None;
            }
            Item::BailOut => {
                level.failed = true;
                report.failures.push(body.to_string());
            }
        }
    }
    if levels.is_empty() {
        report.failures.push("no KTAP version line".to_string());
    }
    while let Some(level) = levels.pop() {
        close(level, levels.len(), &mut report);
    }
    report
}

/// Checks a finished level against its plan; true if anything in it failed.
fn close(level: Level, depth: usize, report: &mut Report) -> bool {
    let wrong = match level.planned {
        None => Some("there is no plan".to_string()),
        Some(0) if level.seen == 0 && !level.skipped_whole => Some("the plan is empty".to_string()),
        Some(planned) if planned != level.seen => {
            Some(format!("{planned} results planned, {} seen", level.seen))
        }
        Some(_) => None,
    };
    let failed = level.failed || wrong.is_some();
    if let Some(wrong) = wrong {
        let place = if depth == 0 { String::new() } else { format!(" (nesting level {depth})") };
        report.failures.push(format!("{wrong}{place}"));
    }
    failed
}

/// A line the protocol gives a meaning.
enum Item {
    Version,
    Plan { count: usize, skipped: Option<String> },
    Outcome { verdict: Verdict, number: usize, text: String },
    BailOut,
}

impl Item {
    fn read(body: &str) -> Option<Item> {
        if body.starts_with("KTAP version ") || body.starts_with("TAP version ") {
            return Some(Item::Version);
        }
        if body.starts_with("Bail out!") {
            return Some(Item::BailOut);
        }
        if let Some(plan) = body.strip_prefix("1..") {
            let (count, rest) = plan.split_at(plan.find(|c: char| !c.is_ascii_digit()).unwrap_or(plan.len()));
            let skipped = rest.trim_start().strip_prefix("# SKIP").map(|reason| reason.trim().to_string());
            return Some(Item::Plan { count: count.parse().ok()?, skipped });
        }
        let (good, rest) = match body.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, body.strip_prefix("ok ")?),
        };
        let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = number.parse().ok()?;
        let text = text.trim_start_matches("- ").to_string();
        // The directive's word is upper case in the specification; nothing else may turn a result into a skip.
        let verdict = match (good, text.contains("# SKIP")) {
            (true, true) => Verdict::Skipped,
            (true, false) => Verdict::Passed,
            (false, _) => Verdict::Failed,
        };
        Some(Item::Outcome { verdict, number, text })
    }
}

#[cfg(test)]
mod tests;
