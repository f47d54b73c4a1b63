//! Bytes a kernel takes: of its vDSO, as mapped here, and the memory it has left.

use super::report;
use crate::system::errno::Errno;
use crate::system::file;

/// Lines `size:vdso` and `size:free`.
pub(super) fn run(_speed: u32) -> Result<(), Errno> {
    let maps = file::read("/proc/self/maps")?;
    let vdso = maps.lines().find(|line| line.ends_with("[vdso]")).and_then(|line| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).ok());
        Some(end? - start?)
    });
    match vdso {
        Some(bytes) => report("size:vdso", "bytes", vec![bytes as f64]),
        None => super::absent("size:vdso", Errno::ENOENT),
    }
    let free = super::free_memory().ok_or(Errno::ENOENT)?;
    report("size:free", "bytes", vec![free as f64]);
    Ok(())
}
