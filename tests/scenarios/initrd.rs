//! Bad archives: none, cut short, or damaged anywhere. Each is one clear error and a stop, or boots all the same.

use super::GNOMON;
use anyhow::{Context, Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::backend::Ending;
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use std::io::Write;
use std::process::{Command, Stdio};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("initrd_absent", &GNOMON, |m| refused(m, Archive::None, "absent")),
        scenario("initrd_that_is_no_archive", &GNOMON, no_archive),
        scenario("initrd_cut_short", &GNOMON, cut_short),
        scenario("initrd_with_a_broken_header", &GNOMON, broken_header),
        scenario("initrd_with_a_byte_changed", &GNOMON, byte_changed),
        scenario("initrd_compressed", &GNOMON, compressed),
        scenario("initrd_with_hostile_names", &GNOMON, hostile_names),
    ]
}

/// Length of a header of the "newc" format, cpio(5).
const HEADER: usize = 110;

/// Must end in a panic that says it is about the archive; returns the sentence.
fn refused(m: &mut Machine, archive: Archive, what: &str) -> Result<()> {
    m.boot(Boot::default().archive(archive))?;
    let panic = m.expect_panic("").with_context(|| format!("the archive was {what}"))?;
    let sentence = panic.lines().next().unwrap_or_default();
    let about = ["initramfs", "initrd", "archive"].iter().any(|word| sentence.contains(word));
    ensure!(about, "an archive {what} gives an error that does not speak of it: {sentence}");
    Ok(())
}

fn no_archive(m: &mut Machine) -> Result<()> {
    let text = b"This is a letter, not an archive.\n".repeat(100);
    refused(m, Archive::of_bytes("letter.cpio", &text)?, "a letter")?;
    refused(m, Archive::of_bytes("zeros.cpio", &[0; 8192])?, "all zeros")?;
    refused(m, Archive::of_bytes("short.cpio", b"0707")?, "four bytes long")
}

/// Cut inside a header, a name, a file, and just before the end mark.
fn cut_short(m: &mut Machine) -> Result<()> {
    let whole = Archive::Default.bytes()?;
    let trailer = find_last(&whole, b"070701").context("no header")?;
    for length in
        [60, HEADER + 1, whole.len() / 2, whole.len() - whole.len() / 8, trailer, trailer + HEADER + 3]
    {
        let archive = Archive::of_bytes("cut.cpio", &whole[..length])?;
        refused(m, archive, &format!("cut at byte {length} of {}", whole.len()))?;
    }
    Ok(())
}

/// Each field of the second header made nonsense: not hexadecimal, or as large as it can be.
fn broken_header(m: &mut Machine) -> Result<()> {
    let whole = Archive::Default.bytes()?;
    let second = HEADER + find_last(&whole[HEADER..2048], b"070701").context("no second header")?;
    // The magic, the file's size, and the name's size, by place in the header.
    for (field, place) in [("magic", 0), ("file size", 6 + 6 * 8), ("name size", 6 + 11 * 8)] {
        for value in [b"zzzzzzzz", b"ffffffff", b"7fffffff"] {
            let mut broken = whole.clone();
            let length = if place == 0 { 6 } else { 8 };
            broken[second + place..second + place + length].copy_from_slice(&value[..length]);
            refused(
                m,
                Archive::of_bytes("broken.cpio", &broken)?,
                &format!("with {} as {field}", value.escape_ascii()),
            )?;
        }
    }
    Ok(())
}

/// A byte changed anywhere, twenty times: it boots, or it stops with the error. A hang or a reset is neither.
fn byte_changed(m: &mut Machine) -> Result<()> {
    let whole = Archive::Default.bytes()?;
    let headers: Vec<usize> =
        whole.windows(6).enumerate().filter(|(_, w)| w == b"070701").map(|(at, _)| at).collect();
    // Fixed numbers (a linear congruence, Numerical Recipes' constants): every run is the same run.
    let mut state: u32 = 1;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % limit
    };
    for _ in 0..20 {
        let mut broken = whole.clone();
        let place = headers[random(headers.len())] + random(HEADER + 8);
        broken[place] ^= 1 << random(8);
        // By name: should the byte be in the name of /init, nobody is to be started in its place who waits for a key.
        m.boot(
            Boot::of("/init")
                .archive(Archive::of_bytes("byte.cpio", &broken)?)
                .arguments(&["run", "/bin/true"]),
        )?;
        m.expect_panic_or_power_off().with_context(|| format!("byte {place} was changed"))?;
    }
    Ok(())
}

/// Gzip may be taken or refused in words.
fn compressed(m: &mut Machine) -> Result<()> {
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let bytes = Archive::Default.bytes()?;
    let mut input = child.stdin.take().context("made with a pipe")?;
    let feeder = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output()?;
    feeder.join().map_err(|_| anyhow::anyhow!("gzip could not be fed"))??;
    let archive = Archive::of_bytes("initramfs.cpio.gz", &output.stdout)?;
    m.boot(Boot::default().archive(archive).arguments(&["run", "/bin/true"]))?;
    if m.expect_panic_or_power_off()? == Ending::Panicked {
        let said = m.everything()?;
        ensure!(
            said.contains("gzip") || said.contains("compressed"),
            "the refusal does not say why:\n{said}"
        );
    }
    Ok(())
}

/// Names that lead outside, are absolute, or go through a file: nothing may land where it should not, or hang.
fn hostile_names(m: &mut Machine) -> Result<()> {
    for name in ["../../outside", "/absolute", "bin/busybox/below", "./here", "a//b", "", "."] {
        let mut bytes = Archive::Default.bytes()?;
        let trailer = find_last(&bytes, b"070701").context("no header")?;
        bytes.truncate(trailer);
        let field = |value: usize| format!("{value:08x}");
        let fields = [900_001, 0o100_644, 0, 0, 1, 0, 4, 0, 0, 0, 0, name.len() + 1, 0].map(field).concat();
        let mut entry = [b"070701", fields.as_bytes(), name.as_bytes(), b"\0"].concat();
        entry.resize(entry.len().next_multiple_of(4), 0);
        bytes.extend(entry);
        bytes.extend(b"text");
        bytes.extend(&Archive::Default.bytes()?[trailer..]);
        let archive = Archive::of_bytes("hostile.cpio", &bytes)?;
        m.boot(Boot::default().archive(archive).arguments(&["run", "/bin/true"]))?;
        m.expect_panic_or_power_off().with_context(|| format!("a file was named {name:?}"))?;
    }
    Ok(())
}

fn find_last(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).rposition(|window| window == pattern)
}
