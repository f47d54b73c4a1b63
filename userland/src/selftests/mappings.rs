//! /proc/self/maps, parsed: how tests find the vDSO and the pages of its data.

use crate::ktap::{Step, Why};
use crate::system::file;

/// A page on x86-64.
pub const PAGE: usize = 4096;

/// One line of /proc/PID/maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Such as `r--p`.
    pub permissions: String,
    /// Offset, device and inode, as written.
    pub rest: [String; 3],
    /// The path or the name in brackets; empty for anonymous memory.
    pub name: String,
}

impl Mapping {
    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.end - self.start
    }

    /// The address of a page of it.
    pub fn page(&self, number: usize) -> usize {
        self.start + number * PAGE
    }
}

/// All mappings of this process, in the order of the file.
pub fn all() -> Result<Vec<Mapping>, Why> {
    let text = file::read("/proc/self/maps").step("reading maps")?;
    text.lines().map(|line| parse(line).step(&format!("a line of maps: {line}"))).collect()
}

fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?.to_string();
    let rest = [words.next()?.to_string(), words.next()?.to_string(), words.next()?.to_string()];
    Some(Mapping {
        start: usize::from_str_radix(start, 16).ok()?,
        end: usize::from_str_radix(end, 16).ok()?,
        permissions,
        rest,
        name: words.collect::<Vec<_>>().join(" "),
    })
}

/// The mapping of that name, if there is one.
pub fn find(name: &str) -> Result<Option<Mapping>, Why> {
    Ok(all()?.into_iter().find(|mapping| mapping.name == name))
}

/// The mapping of that name.
pub fn named(name: &str) -> Result<Mapping, Why> {
    find(name)?.step(&format!("a mapping {name}"))
}

/// The mapping that holds this address.
pub fn holding(address: usize) -> Result<Option<Mapping>, Why> {
    Ok(all()?.into_iter().find(|mapping| (mapping.start..mapping.end).contains(&address)))
}
