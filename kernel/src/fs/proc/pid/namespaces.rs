//! `/proc/PID/ns`: a link to each namespace of a process, namespaces(7).
//!
//! The link leads to the namespace itself, which has no name anywhere: opening it holds the namespace, setns(2) joins it.

use super::Someone;
use crate::{
    abi::Result,
    fs::{
        Actor, LinkTarget, nsfs,
        proc::node::{Row, What},
    },
    ns::nsfs::Handle,
};

/// In the order in which Linux lists them, as far as they exist.
pub static ROWS: &[Row<Someone>] = &[
    Row { name: "user", permissions: 0o777, what: What::Link(user) },
    #[cfg(feature = "time_ns")]
    Row { name: "time", permissions: 0o777, what: What::Link(time) },
    #[cfg(feature = "time_ns")]
    Row { name: "time_for_children", permissions: 0o777, what: What::Link(time_for_children) },
];

fn user(someone: &Someone, actor: &dyn Actor) -> Result<LinkTarget> {
    let task = someone.must_be_inspectable(actor)?;
    Ok(leads_to(Handle::User(task.credentials().user_namespace.clone())))
}

#[cfg(feature = "time_ns")]
fn time(someone: &Someone, actor: &dyn Actor) -> Result<LinkTarget> {
    bundle(someone, actor).map(|namespaces| leads_to(Handle::Time(namespaces.time.clone())))
}

#[cfg(feature = "time_ns")]
fn time_for_children(someone: &Someone, actor: &dyn Actor) -> Result<LinkTarget> {
    bundle(someone, actor).map(|namespaces| leads_to(Handle::Time(namespaces.children.clone())))
}

/// Errors: EACCES; ENOENT for a zombie, which has left its namespaces.
#[cfg(feature = "time_ns")]
fn bundle(someone: &Someone, actor: &dyn Actor) -> Result<alloc::sync::Arc<crate::ns::Namespaces>> {
    let task = someone.must_be_inspectable(actor)?;
    task.namespaces().ok_or_else(|| crate::abi::Errno::ENOENT.because("a zombie has left its namespaces"))
}

fn leads_to(handle: Handle) -> LinkTarget {
    LinkTarget::Object(nsfs::path(handle))
}
