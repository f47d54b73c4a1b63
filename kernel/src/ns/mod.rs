//! Namespaces, the heart: who owns what, and which time a task is told.
//!
//! Clocks below this folder know only host time. A namespace translates at the edge: what is read is shifted once, when
//! it leaves ([`translate`]); an absolute deadline is shifted back once, when it is armed. The chapters:
//! * [`proxy`]: the two slots every task has, and what each operation does to them;
//! * [`time`]: one time namespace, from creation over freezing to its end; [`offsets`]: the text of its offsets;
//! * [`vvar`]: its page; [`nsfs`]: namespaces seen as files; [`setns`]: joining one;
//! * [`user`], [`id_map`], [`credentials`]: who may do all that; [`count`], [`number`]: limits and inode numbers.
//!
//! Without the feature `time_ns` the bundle of `absent` takes the place of all but the last two lines.

pub mod count;
pub mod credentials;
pub mod id_map;
pub mod nsfs;
pub mod number;
pub mod setns;
pub mod user;

#[cfg(feature = "time_ns")]
pub mod offsets;
#[cfg(feature = "time_ns")]
pub mod proxy;
#[cfg(feature = "time_ns")]
pub mod time;
#[cfg(feature = "time_ns")]
pub mod translate;
#[cfg(feature = "time_ns")]
#[allow(unsafe_code, reason = "a frame is seen as a page of clock data")]
pub mod vvar;

#[cfg(not(feature = "time_ns"))]
#[path = "absent.rs"]
pub mod proxy;

pub use credentials::{Access, Capability, CapabilitySet, Credentials};
pub use proxy::Namespaces;
