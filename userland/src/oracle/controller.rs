//! Runs a sequence: hands the calls to the tasks one by one and prints each with its result and what it changed.
//!
//! After every step the controller, which stays outside and privileged, reads the two namespace links and the offsets of
//! every task and prints what is not as it was. So a difference shows at the step that made it, not at one that
//! happens to look later.
//!
//! Who is alive is a matter of waiting: after a step that ends tasks the controller waits until /proc shows them as zombies
//! or not at all. A task that made another with CLONE_VFORK answers when that one is gone or has executed; until then
//! steps of it are left out.

use super::calls::shown_offsets;
use super::facts::Facts;
use super::step::{Step, TASKS};
use super::times;
use super::worker::{MESSAGE, answer_end, command_end, serve};
use crate::system::errno::Errno;
use crate::system::{file, process, time};
use crate::{call, say};

/// How long a task may take for one call, in milliseconds.
const PATIENCE: i64 = 5_000;

/// A task as the controller knows it.
#[derive(Clone, Default)]
struct Task {
    is_alive: bool,
    /// Its thread id, and that of its process.
    id: i32,
    process: i32,
    /// The task made with CLONE_VFORK for which it waits.
    waits_for: Option<usize>,
    /// Its namespaces and offsets as last printed.
    state: String,
}

/// A sequence being run.
pub struct Controller {
    /// Our ends of the pipes: for commands, for answers.
    pipes: Vec<(i32, i32)>,
    tasks: Vec<Task>,
    facts: Facts,
}

/// Runs the steps; the first task is a child of this process.
pub fn run(steps: &[Step]) -> Result<(), Errno> {
    // Whoever loses its parent becomes ours, so that all can be waited for at the end.
    call!(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1)?;
    let mut controller = Controller::new()?;
    controller.print_state();
    for step in steps {
        if controller.step(step).is_none() {
            break;
        }
    }
    controller.end();
    Ok(())
}

impl Controller {
    fn new() -> Result<Controller, Errno> {
        let facts = Facts::new()?;
        let mut theirs = Vec::new();
        let mut pipes = Vec::new();
        for _ in TASKS {
            let (command, answer) = (process::pipe()?, process::pipe()?);
            pipes.push((command.1, answer.0));
            theirs.push((command.0, answer.1));
        }
        let first = process::spawn(|| {
            for (task, (command, answer)) in theirs.iter().enumerate() {
                let _ = call!(libc::SYS_dup2, *command, command_end(task));
                let _ = call!(libc::SYS_dup2, *answer, answer_end(task));
            }
            // Ours: were they open here, the tasks would not notice our end.
            let ours = pipes.iter().chain(&theirs).flat_map(|(one, other)| [*one, *other]);
            ours.filter(|end| *end < command_end(0)).for_each(process::close);
            let signals = 1u64 << (times::TIMER_SIGNAL - 1);
            let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &signals, 0usize, 8usize);
            serve(0)
        })?;
        theirs.iter().for_each(|(command, answer)| {
            process::close(*command);
            process::close(*answer);
        });
        let mut controller = Controller { pipes, tasks: vec![Task::default(); TASKS.len()], facts };
        controller.born(0, first, first);
        Ok(controller)
    }

    fn born(&mut self, task: usize, id: i32, process: i32) {
        self.tasks[task] = Task { is_alive: true, id, process, ..Task::default() };
        self.facts.ids[task] = id;
    }

    /// Makes one step; None when the sequence cannot go on.
    fn step(&mut self, step: &Step) -> Option<()> {
        let is_free = |task: &Task| task.is_alive && task.waits_for.is_none();
        if !is_free(&self.tasks[step.task]) || step.made_task().is_some_and(|made| self.tasks[made].is_alive)
        {
            return Some(());
        }
        // Before the step, because a kill may name a task by an id that is gone afterwards.
        let doomed = self.doomed_by(step);
        self.send(step);
        let answer = if doomed.contains(&step.task) { None } else { self.answer_to(step) };
        match answer {
            Some(answer) => say!("{step} = {}", self.facts.to_reader(&answer)),
            None if doomed.contains(&step.task) => say!("{step} = no return"),
            None => {
                say!("{step} = no answer");
                return None;
            }
        }
        for task in doomed {
            self.bury(task)?;
        }
        for (task, letter) in TASKS.iter().enumerate() {
            if self.tasks[task].is_alive && self.is_gone(task) {
                say!("  {letter} is gone");
                self.bury(task)?;
            }
        }
        self.print_state();
        Some(())
    }

    /// The tasks that must be gone after this step.
    fn doomed_by(&self, step: &Step) -> Vec<usize> {
        let of_process = |process: i32| {
            let here = |task: &usize| self.tasks[*task].is_alive && self.tasks[*task].process == process;
            (0..TASKS.len()).filter(here).collect()
        };
        match step.name.as_str() {
            "exit_group" => of_process(self.tasks[step.task].process),
            "exit" => vec![step.task],
            "kill" => {
                let target = step.arguments.first().and_then(|letter| super::step::task_index(letter));
                // Whether it is permitted is the kernel's to say: only one's own end is certain.
                let own = self.tasks[step.task].process;
                let is_own = |target: usize| {
                    let is_meant = |task: &Task| task.id == self.facts.ids[target] && task.process == own;
                    self.tasks.iter().any(|task| task.is_alive && is_meant(task))
                };
                target.filter(|target| is_own(*target)).map_or(Vec::new(), |_| of_process(own))
            }
            _ => Vec::new(),
        }
    }

    fn send(&self, step: &Step) {
        let mut text = step.name.clone();
        for (index, argument) in step.arguments.iter().enumerate() {
            text.push('\t');
            match step.made_task() {
                Some(made) if index == 0 => text += &made.to_string(),
                _ => text += &self.facts.to_machine(argument),
            }
        }
        let length = text.len().min(MESSAGE);
        let _ = call!(libc::SYS_write, self.pipes[step.task].0, text.as_ptr(), length);
    }

    /// What the task answers, after the changes to who is there.
    fn answer_to(&mut self, step: &Step) -> Option<String> {
        match (step.made_task(), step.name.as_str()) {
            (Some(made), _) => {
                let (who, answer) = self.receive(&[step.task, made])?;
                let Some(id) = answer.split("pid:").nth(1).and_then(|id| id.parse().ok()) else {
                    return Some(answer);
                };
                let is_thread = step.arguments.iter().any(|argument| argument.contains("CLONE_THREAD"));
                self.born(made, id, if is_thread { self.tasks[step.task].process } else { id });
                if who == made {
                    self.tasks[step.task].waits_for = Some(made);
                    return Some(format!("pid:{id} has begun"));
                }
                Some(answer)
            }
            (None, "execve") => {
                let (_, answer) = self.receive(&[step.task])?;
                if !answer.starts_with("here") {
                    return Some(answer);
                }
                // All other threads are gone, and whoever executes becomes the first one.
                let process = self.tasks[step.task].process;
                for task in (0..TASKS.len()).filter(|task| *task != step.task) {
                    if self.tasks[task].is_alive && self.tasks[task].process == process {
                        self.tasks[task].is_alive = false;
                        self.resume_who_waits_for(task)?;
                    }
                }
                let state = std::mem::take(&mut self.tasks[step.task].state);
                self.born(step.task, process, process);
                self.tasks[step.task].state = state;
                self.resume_who_waits_for(step.task)?;
                Some(answer)
            }
            (None, "kill") => {
                let (_, answer) = self.receive(&[step.task])?;
                let target = step.arguments.first().and_then(|letter| super::step::task_index(letter))?;
                // By its id, which after an exec may be that of another letter.
                let id = self.facts.ids[target];
                let process =
                    self.tasks.iter().find(|task| task.is_alive && task.id == id).map(|task| task.process);
                if let (true, Some(process)) = (answer == "0", process) {
                    for task in 0..TASKS.len() {
                        if self.tasks[task].is_alive && self.tasks[task].process == process {
                            self.bury(task)?;
                        }
                    }
                }
                Some(answer)
            }
            _ => Some(self.receive(&[step.task])?.1),
        }
    }

    /// The first answer of any of these tasks.
    fn receive(&self, tasks: &[usize]) -> Option<(usize, String)> {
        let mut polled: Vec<libc::pollfd> = tasks
            .iter()
            .map(|task| libc::pollfd { fd: self.pipes[*task].1, events: libc::POLLIN, revents: 0 })
            .collect();
        call!(libc::SYS_poll, polled.as_mut_ptr(), polled.len(), PATIENCE).ok()?;
        let ready = polled.iter().position(|polled| polled.revents & libc::POLLIN != 0)?;
        let mut room = [0u8; MESSAGE];
        let length = call!(libc::SYS_read, polled[ready].fd, room.as_mut_ptr(), MESSAGE).ok()?;
        Some((tasks[ready], String::from_utf8_lossy(&room[..length]).into_owned()))
    }

    /// True when the kernel has done with a task, but for what is left of it as a zombie.
    fn is_gone(&self, task: usize) -> bool {
        let Ok(text) = file::read(&format!("/proc/{}/stat", self.tasks[task].id)) else { return true };
        let state = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        state.starts_with(['Z', 'X'])
    }

    /// Waits for the end of a task.
    fn bury(&mut self, task: usize) -> Option<()> {
        if !self.tasks[task].is_alive {
            return Some(());
        }
        let mut tries = PATIENCE;
        while !self.is_gone(task) {
            tries -= 1;
            if tries == 0 {
                say!("  {} does not end", TASKS[task]);
                return None;
            }
            time::sleep(time::MILLISECOND / 4);
        }
        self.tasks[task].is_alive = false;
        self.tasks[task].waits_for = None;
        self.resume_who_waits_for(task)
    }

    /// A task that waits for this one, which is gone or has executed, goes on.
    fn resume_who_waits_for(&mut self, task: usize) -> Option<()> {
        let Some(waiter) = (0..TASKS.len()).find(|other| self.tasks[*other].waits_for == Some(task)) else {
            return Some(());
        };
        self.tasks[waiter].waits_for = None;
        if self.tasks[waiter].is_alive && self.receive(&[waiter]).is_none() && !self.is_gone(waiter) {
            say!("  {} does not go on after {}", TASKS[waiter], TASKS[task]);
            return None;
        }
        Some(())
    }

    /// Prints the namespaces and offsets of the tasks for which they are not as they were.
    fn print_state(&mut self) {
        for (task, letter) in TASKS.iter().enumerate() {
            if !self.tasks[task].is_alive {
                continue;
            }
            let base = format!("/proc/{}", self.tasks[task].id);
            let mut words = Vec::new();
            for link in ["time", "time_for_children"] {
                let path = format!("{base}/ns/{link}");
                words.push(match file::readlink(&path) {
                    Ok(link) => self.facts.see(&link, &path),
                    Err(errno) => errno.name(),
                });
            }
            words.push(match file::read(&format!("{base}/timens_offsets")) {
                Ok(text) => self.facts.to_reader(&shown_offsets(&text)),
                Err(errno) => errno.name(),
            });
            let state = words.join(" ");
            if state != self.tasks[task].state {
                say!("  {letter}: {state}");
                self.tasks[task].state = state;
            }
        }
    }

    /// Ends every task and waits for all.
    fn end(&mut self) {
        for task in self.tasks.iter().filter(|task| task.is_alive) {
            let _ = call!(libc::SYS_kill, task.process, libc::SIGKILL);
        }
        while process::wait_with(-1, libc::__WALL).is_ok() {}
    }
}
