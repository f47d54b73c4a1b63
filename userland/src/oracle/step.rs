//! The language of a sequence: one call a line, made by one of six tasks, written as C would write it.
//!
//! `b: setns(ns, CLONE_NEWTIME)` is the task `b` calling setns with what its descriptor `ns` is. What is printed for a step
//! is the step, ` = ` and the result, and what follows ` = ` is not read; so the output of one run is the input of the
//! next, and the script of a difference can be cut down with any text editor. A letter in an argument, alone or between
//! the slashes of `/proc/b/`, stands for the process id of that task.

use std::fmt;

/// The tasks by letter. Six are enough for threads, children and strangers at once.
pub const TASKS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Who makes it: an index into [`TASKS`].
    pub task: usize,
    /// The call.
    pub name: String,
    /// Its arguments as written.
    pub arguments: Vec<String>,
}

impl Step {
    /// Reads a line; None for lines that are no steps, such as what is printed about the state after a step.
    pub fn parse(line: &str) -> Option<Step> {
        let line = line.split(") = ").next()?;
        let line = line.trim_end().strip_suffix(')').unwrap_or(line);
        let (task, call) = line.split_once(": ")?;
        let (name, arguments) = call.split_once('(')?;
        // Nothing at all are no arguments; nothing behind a comma is an empty one.
        let arguments = arguments.split(", ").filter(|_| !arguments.is_empty()).map(str::to_string);
        Some(Step { task: task_index(task)?, name: name.to_string(), arguments: arguments.collect() })
    }

    /// The new task this call makes, if it is one that makes tasks.
    pub fn made_task(&self) -> Option<usize> {
        let makes = ["fork", "vfork", "clone", "clone3", "exec"].contains(&self.name.as_str());
        if makes { self.arguments.first().and_then(|letter| task_index(letter)) } else { None }
    }
}

/// The index of a task's letter.
pub fn task_index(letter: &str) -> Option<usize> {
    TASKS.iter().position(|task| *task == letter)
}

/// The task an argument names, alone or within `/proc/…/`.
pub fn task_in(argument: &str) -> Option<usize> {
    let inner = argument.strip_prefix("/proc/").and_then(|rest| rest.split('/').next());
    task_index(inner.unwrap_or(argument))
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}({})", TASKS[self.task], self.name, self.arguments.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for line in [
            "a: unshare(CLONE_NEWTIME)",
            "f: clocks()",
            "b: write(ns, monotonic 1 0\\nboottime 2 0)",
            "b: write(ns, )",
        ] {
            let step = Step::parse(line).unwrap();
            assert_eq!(step.to_string(), line);
            assert_eq!(Step::parse(&format!("{line} = EINVAL")), Some(step));
        }
        assert_eq!(Step::parse("  a: n0 n1 monotonic 0 boottime 0"), None);
        assert_eq!(Step::parse("sequence 5"), None);
        assert_eq!(task_in("/proc/b/ns/time"), Some(1));
    }
}
