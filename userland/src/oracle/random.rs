//! A sequence from a seed: which calls, by which task, with which arguments. Pure arithmetic: the same everywhere.
//!
//! The generator knows no kernel. It keeps a rough idea of which tasks there are (as if every call succeeded), so that most
//! steps are made by somebody; a step whose task is not there is left out when the sequence is run.

use super::calls::{CALLS, Call};
use super::step::{Step, TASKS, task_in};
use crate::random::Random;

/// How many steps a sequence has.
const LENGTH: usize = 40;

/// What often follows a call, made by the same task on itself: by chance alone, namespaces with offsets that somebody
/// enters would be rare.
const FOLLOWS: &[(&str, &[&str])] = &[
    ("unshare", &["open_and_write", "open"]),
    ("open_and_write", &["fork", "vfork", "execve", "setns_by_path", "clone3", "unshare"]),
    ("setns_by_path", &["clocks", "timerfd_settime", "clock_nanosleep", "unshare"]),
    ("fork", &["clocks"]),
    ("timerfd_create", &["timerfd_settime"]),
    ("timer_create", &["timer_settime"]),
    ("timer_settime", &["timer_gettime", "sigtimedwait", "execve", "fork", "setns_by_path"]),
    ("timerfd_settime", &["timerfd_gettime", "read", "execve", "fork", "setns_by_path"]),
    ("pidfd_open", &["setns"]),
];

/// What a sequence may begin with, each by two chances of three: a namespace worth entering, and descriptors.
const BEGINNING: &[&str] =
    &["unshare", "open_and_write", "open", "open", "open", "timerfd_create", "pidfd_open", "open"];

/// The sequence of this seed.
pub fn sequence(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut alive = [false; TASKS.len()];
    alive[0] = true;
    let mut steps: Vec<Step> = Vec::new();
    for name in BEGINNING {
        if random.below(3) > 0 {
            steps.extend(step(&mut random, 0, &alive, Some(name)));
        }
    }
    while steps.len() < LENGTH {
        let here: Vec<usize> = (0..TASKS.len()).filter(|task| alive[*task]).collect();
        let last = steps.last().filter(|last| alive[last.task]);
        let follows = last.and_then(|last| FOLLOWS.iter().find(|(name, _)| *name == last.name));
        let step = match (last, follows) {
            (Some(last), Some((_, next))) if random.below(2) == 0 => {
                let name = random.one_of(next);
                step(&mut random, last.task, &alive, Some(name))
            }
            _ if here.is_empty() => break,
            _ => {
                let task = here[random.below(here.len())];
                step(&mut random, task, &alive, None)
            }
        };
        let Some(step) = step else { continue };
        if let Some(made) = step.made_task() {
            alive[made] = true;
        }
        match step.name.as_str() {
            "exit_group" | "exit" => alive[step.task] = false,
            "kill" => alive[task_in(&step.arguments[0]).unwrap_or(step.task)] = false,
            _ => {}
        }
        steps.push(step);
    }
    steps
}

/// One step of this task: a call by weight, or the one of this name.
fn step(random: &mut Random, task: usize, alive: &[bool], name: Option<&str>) -> Option<Step> {
    let fits = |call: &&Call| name.is_none_or(|name| call.name == name);
    let total: u32 = CALLS.iter().filter(fits).map(|call| call.weight).sum();
    let mut at = random.below(total as usize) as u32;
    let call = CALLS.iter().filter(fits).find(|call| {
        let found = at < call.weight;
        at = at.wrapping_sub(call.weight);
        found
    })?;
    let mut arguments = Vec::new();
    for choices in call.arguments {
        let choice = random.one_of(choices);
        arguments.push(match choice {
            // The letter after the last one in use.
            "NEW" => TASKS[(0..TASKS.len()).rfind(|task| alive[*task]).map_or(0, |last| last + 1)..]
                .first()?
                .to_string(),
            // Oneself, somebody, or whoever had that letter or will have it.
            _ if choice.contains('?') => {
                let here: Vec<usize> = (0..TASKS.len()).filter(|task| alive[*task]).collect();
                let other = match random.below(4) {
                    _ if name.is_some() => task,
                    0 => task,
                    1 => random.below(TASKS.len()),
                    _ => here[random.below(here.len())],
                };
                choice.replace('?', TASKS[other])
            }
            _ => choice.to_string(),
        });
    }
    Some(Step { task, name: call.name.to_string(), arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_seeds_differ() {
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        for seed in 0..50 {
            let steps = sequence(seed);
            // Only when the first task ends there is nobody to go on.
            let made = steps.iter().any(|step| step.made_task().is_some());
            assert!(made || steps.len() < LENGTH, "seed {seed} makes no task");
        }
    }
}
