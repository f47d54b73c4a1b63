//! System calls: thin functions that turn a program's numbers into calls of the kernel's own, and answers into numbers.
//!
//! [`table`] has one line for each. The families beside it hold the handlers, all of one shape:
//! `fn name(caller: &mut Caller<'_>, typed arguments…) -> Result<usize>`, or `async fn` where the call may wait.

mod argument;
mod caller;
mod table;

mod clocks;
mod namespaces;

pub use argument::Argument;
pub use caller::Caller;
pub use table::{ROWS, Row, call_counts, dispatch};
