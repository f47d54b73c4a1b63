//! The first process, which all others descend from, and which must not end.

use super::{
    Process, Task,
    execve::{Executor, Prepared, memory_limits, prepare},
    job_control,
    kinship::INIT,
    limits::{Limits, Resource, most_tasks},
    name::Name,
    process::ProcessBeginning,
    sched, serve,
    signal::Actions,
    table,
    thread::{Beginning, Resources},
};
use crate::{
    abi::{CommandLine, Result},
    arch::{UserContext, UserMode},
    exec::{self, Arguments},
    fs::{FileTable, KernelActor, LastLink, PathContext, Walk, console, mount, open::open_executable},
    ns::{Credentials, Namespaces},
    time::{self, HostClock},
};
use alloc::{sync::Arc, vec::Vec};
use core::fmt::{self, Display};

/// Where init is looked for when nothing else was said.
const USUAL: &[&str] = &["/init", "/sbin/init", "/bin/sh"];
/// Its environment, before what the command line adds.
const ENVIRONMENT: &[&str] = &["HOME=/", "TERM=linux"];

/// Makes the first process. Panics when there is nothing it could execute, as there is nothing left to do then.
pub fn start_init(command_line: &CommandLine<'_>) {
    job_control::install();
    let context = PathContext::new(mount::root());
    let candidates = command_line.init.as_ref().map_or(USUAL, core::slice::from_ref);
    for path in candidates {
        match start(path, &context, command_line) {
            Ok(()) => return log::info!("run {path} as init process"),
            Err(error) if candidates.len() == 1 => panic!("requested init {path} failed: {error}"),
            Err(error) => log::debug!("{path} cannot be init: {error}"),
        }
    }
    panic!("no working init found: give one with init=");
}

fn start(path: &str, context: &Arc<PathContext>, command_line: &CommandLine<'_>) -> Result<()> {
    let limits = Limits::initial(most_tasks() as u64);
    let beginning = ProcessBeginning { id: INIT, exit_signal: 0, start_time: time::now(HostClock::Boottime) };
    let process = Arc::new(Process::first(beginning, limits));
    let namespaces = Namespaces::initial();
    let prepared = load(path, context, command_line, &process, &namespaces)?;
    let Prepared { loaded, identity, executable, .. } = prepared;
    process.set_executable(Some(executable));

    let files = FileTable::new();
    let console = console::open_for_init();
    for _ in 0..3 {
        files.install(console.clone(), false, limits.get(Resource::NOFILE).soft)?;
    }
    let resources = Resources {
        space: Some(loaded.space),
        files: Some(files),
        filesystem: Some(context.clone()),
        namespaces: Some(namespaces),
    };
    let credentials = Arc::new(identity.credentials);
    let beginning =
        Beginning { id: INIT, process, resources, credentials, actions: Arc::<Actions>::default() };
    let task = Arc::new(Task::first(beginning, Name::new(&exec::command_name(path.as_bytes()))));
    task.process().state.lock().threads.insert(INIT, task.clone());
    table::add_init(&task);
    serve::start(&task, UserContext::new(loaded.entry, loaded.stack)?);
    Ok(())
}

fn load(
    path: &str,
    context: &PathContext,
    command_line: &CommandLine<'_>,
    process: &Process,
    namespaces: &Namespaces,
) -> Result<Prepared> {
    let credentials = Credentials::initial();
    let strings = |first: &[&'static str], others: &[&str]| -> Vec<Vec<u8>> {
        first.iter().copied().chain(others.iter().copied()).map(|string| string.as_bytes().to_vec()).collect()
    };
    let mut given = strings(&[], &command_line.arguments);
    given.insert(0, path.as_bytes().to_vec());
    let environment = strings(ENVIRONMENT, &command_line.environment);
    let stack_limit = process.limit(Resource::STACK).soft;
    let arguments = Arguments::from_kernel(&slices(&given), &slices(&environment), stack_limit)?;
    let file = open_executable(&mut Walk::new(&KernelActor, context), path.as_bytes(), LastLink::Follow)?;
    let executor = Executor {
        actor: &KernelActor,
        context,
        credentials: &credentials,
        no_new_privileges: false,
        shares_filesystem: false,
        namespaces,
        limits: memory_limits(process, &credentials),
        personality: 0,
    };
    prepare(&executor, file, path.as_bytes(), true, arguments)
}

fn slices(strings: &[Vec<u8>]) -> Vec<&[u8]> {
    strings.iter().map(Vec::as_slice).collect()
}

/// Who runs, in words, for a panic. Nothing is allocated for it: the heap may be what the panic came in.
pub fn describe_current() -> impl Display {
    let current = sched::current();
    fmt::from_fn(move |out| match &current {
        Some(task) => write!(out, "task {} ({})", task.id(), task.name()),
        None => out.write_str("no task"),
    })
}
