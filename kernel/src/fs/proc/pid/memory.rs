//! What a process finds in its own memory from its start, and how much it has: `cmdline`, `environ`, `auxv`, `statm`.

use super::Someone;
use crate::{
    abi::{Result, UserPointer},
    fs::Actor,
    mm::AddressSpace,
};
use alloc::{format, sync::Arc, vec::Vec};
use core::ops::Range;

/// What is shown of arguments and environment, at most.
const LONGEST: usize = 64 * 1024;

fn space(someone: &Someone) -> Result<Option<Arc<AddressSpace>>> {
    Ok(someone.task()?.space())
}

fn text_at(space: &AddressSpace, range: Range<usize>) -> Vec<u8> {
    let length = range.len().min(LONGEST);
    space.read_array(UserPointer::<u8>::new(range.start), length).unwrap_or_default()
}

/// `cmdline`: the arguments, each ended by a zero byte, as they are now. Empty for a zombie.
pub fn arguments(someone: &Someone, _actor: &dyn Actor) -> Result<Vec<u8>> {
    let Some(space) = space(someone)? else { return Ok(Vec::new()) };
    let layout = space.layout();
    let mut text = text_at(&space, layout.arguments.clone());
    // A program that has overwritten the zero at the end has made its title longer: it goes on to the first zero.
    if text.last().is_some_and(|&last| last != 0) {
        text.extend(text_at(&space, layout.environment));
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        text.truncate(end);
    }
    Ok(text)
}

/// `environ`: likewise. Errors: EACCES for those who may not look into the process.
pub fn environment(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    someone.must_be_inspectable(actor)?;
    let Some(space) = space(someone)? else { return Ok(Vec::new()) };
    Ok(text_at(&space, space.layout().environment))
}

/// `auxv`: the auxiliary vector's words, with its end. Errors: EACCES.
pub fn auxiliary_vector(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    someone.must_be_inspectable(actor)?;
    let Some(space) = space(someone)? else { return Ok(Vec::new()) };
    Ok(space.auxiliary_vector().iter().flat_map(|word| word.to_le_bytes()).collect())
}

/// `statm`: sizes in pages: all, present, present and shared (not told apart), code, 0, data and stack, 0.
pub fn sizes(someone: &Someone, _actor: &dyn Actor) -> Result<Vec<u8>> {
    let Some(space) = space(someone)? else { return Ok(b"0 0 0 0 0 0 0\n".to_vec()) };
    let sizes = space.statistics();
    Ok(format!("{} {} 0 {} 0 {} 0\n", sizes.total, sizes.resident, sizes.code, sizes.data + sizes.stack)
        .into_bytes())
}
