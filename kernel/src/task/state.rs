//! What a task is doing, and the words for it.

/// What a task is doing, as ps(1) shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// It runs, or would if it had a CPU.
    Running,
    /// It waits for something.
    Sleeping,
    /// It was stopped by a signal.
    Stopped,
    /// It has ended and was not waited for.
    Zombie,
}

impl TaskState {
    /// The letter that stands for it in `/proc/PID/stat`.
    pub const fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::Stopped => 'T',
            Self::Zombie => 'Z',
        }
    }

    /// The word that stands for it in `/proc/PID/status`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Stopped => "stopped",
            Self::Zombie => "zombie",
        }
    }
}
