//! Tasks and processes: what runs, on whose account, and what becomes of it.
//!
//! A task's kernel side is one future ([`serve`]), polled by the scheduler ([`sched`]) on the CPU's one kernel stack;
//! waiting is `.await` ([`wait`]). The chapters:
//! * [`thread`] is one task (and [`name`] what it is called), [`process`] what the threads of one have in common, [`table`]
//!   all of them by number with their [`kinship`]: parents, groups and sessions;
//! * [`clone`], [`vfork`], [`execve`], [`exit`] and [`reap`] are the course of a life, [`status`] how it ended, [`init`] where
//!   it all begins;
//! * [`policy`] says who runs before whom, [`run_queue`] who is next, [`attention`] what a task must look at before its program
//!   goes on, [`caller`] who makes a system call;
//! * [`signal`] is what others may do to it; [`job_control`] joins it to a terminal; [`pidfd`] is a process as a
//!   file, and [`signal_file`] are its signals as one;
//! * [`timers`] are those that belong to a process, and [`cpu_time`] what some of them go by;
//! * [`futex`] is how threads wait for each other;
//! * [`limits`], [`cpu_time`], [`credentials`] and [`privacy`] say what it may use, has used, who it is, and who may look
//!   into it; [`out_of_memory`] whom to end when there is none left; [`identity`] is what the machine says of itself.

pub mod attention;
pub mod caller;
pub mod clone;
pub mod clone_arguments;
pub mod cpu_time;
pub mod credentials;
pub mod execve;
pub mod exit;
pub mod futex;
pub mod identity;
pub mod init;
pub mod job_control;
pub mod kinship;
pub mod limits;
pub mod name;
mod out_of_memory;
pub mod pidfd;
pub mod policy;
pub mod privacy;
pub mod process;
pub mod reap;
pub mod run_queue;
pub mod sched;
pub mod serve;
pub mod signal;
pub mod signal_file;
pub mod state;
pub mod status;
pub mod table;
pub mod thread;
pub mod timers;
pub mod vfork;
pub mod wait;

pub use caller::Caller;
pub use cpu_time::Usage;
pub use init::{describe_current, start_init};
pub use limits::{Limit, Resource};
pub use name::Name;
pub use process::Process;
pub use status::Status;
pub use thread::Task;
