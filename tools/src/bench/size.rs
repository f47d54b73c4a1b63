//! Bytes: of the kernels as files and in memory, of the vDSOs, and of the memory that is in use at the first prompt.

use super::console::Console;
use super::group::Group;
use super::measure::Bench;
use super::peer::{Errand, FOLDER, Peer};
use super::series::{Line, Series, Unit};
use crate::command::say;
use anyhow::{Context, Result};
use object::read::elf::{FileHeader, ProgramHeader};
use std::time::Duration;

const PEERS: [Peer; 4] = [Peer::Gnomon, Peer::Linux, Peer::UserMode, Peer::UserModeLinux];
/// MiB of the machines.
const MEMORY: u32 = 256;

/// Measures files, and asks each machine for the rest.
pub fn measure(bench: &mut Bench) -> Result<()> {
    for peer in bench.present(&PEERS) {
        say(format_args!("size: {}", peer.name()));
        let kernel = bench.kit.kernel(peer).context("every machine has a kernel")?;
        let bytes = std::fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        let mut figures = vec![("kernel file, without names and debugging information", stripped(&bytes))];
        figures.push(("kernel in memory", in_memory(&bytes)));
        let machine = ask(bench, peer)?;
        figures.push(("vDSO", machine.0));
        figures.push(("memory in use, with the archive's files", machine.1));
        for (row, figure) in figures {
            let samples = figure.into_iter().collect();
            bench.series.extend(Series::new(Group::Size, peer, row, Unit::Bytes, samples));
        }
    }
    Ok(())
}

/// The bytes of an ELF file that are loaded; of any other, which is compressed and has nothing else in it, all.
fn stripped(file: &[u8]) -> Option<f64> {
    Some(segments(file).map_or(file.len() as f64, |all| all.iter().map(|(in_file, _)| *in_file).sum()))
}

/// What the kernel takes when it runs. For Linux's compressed file its header says so: `init_size`, at 0x260 (the x86
/// boot protocol).
fn in_memory(file: &[u8]) -> Option<f64> {
    match segments(file) {
        Some(all) => Some(all.iter().map(|(_, in_memory)| *in_memory).sum()),
        None => {
            let is_linux = file.get(0x202..0x206) == Some(b"HdrS");
            let word = file.get(0x260..0x264).filter(|_| is_linux)?;
            Some(f64::from(u32::from_le_bytes(word.try_into().ok()?)))
        }
    }
}

/// The loaded segments' sizes, in the file and in memory.
fn segments(file: &[u8]) -> Option<Vec<(f64, f64)>> {
    let header = object::elf::FileHeader64::<object::Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let loaded = |segment: &&object::elf::ProgramHeader64<_>| segment.p_type(endian) == object::elf::PT_LOAD;
    let all = header.program_headers(endian, file).ok()?.iter().filter(loaded);
    Some(all.map(|segment| (segment.p_filesz(endian) as f64, segment.p_memsz(endian) as f64)).collect())
}

/// Bytes of the vDSO, and of the memory that is not free.
fn ask(bench: &Bench, peer: Peer) -> Result<(Option<f64>, Option<f64>)> {
    let init = vec!["run".into(), format!("/{FOLDER}/size-{}", Group::Size.speed(false))];
    let errand = Errand { init, measure: Vec::new(), counted: false, memory: MEMORY };
    let mut console = Console::start(&mut bench.kit.command(peer, &errand)?, Duration::from_secs(120))?;
    let (mut vdso, mut used) = (None, None);
    while let Some(line) = console.line().with_context(|| format!("asking {}", peer.name()))? {
        if let Some(Line::Samples { row, samples, .. }) = Line::parse(&line) {
            match row.as_str() {
                "size:vdso" => vdso = samples.first().copied(),
                "size:free" => used = samples.first().map(|free| f64::from(MEMORY << 20) - free),
                _ => {}
            }
        }
    }
    Ok((vdso, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_larger_in_memory() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let (stripped, loaded) = (stripped(&file).unwrap(), in_memory(&file).unwrap());
        assert!(0.0 < stripped && stripped < file.len() as f64 && stripped <= loaded);
    }

    #[test]
    fn what_is_no_program_counts_as_a_whole() {
        assert_eq!(stripped(b"compressed"), Some(10.0));
        assert_eq!(in_memory(b"compressed"), None);
    }
}
