//! The archive as its reader sees it: by the crate the kernel unpacks with.

use super::*;
use proptest::prelude::*;

fn sample() -> Archive {
    let mut archive = Archive::new();
    archive.file("/bin/tool", 0o755, b"12345".to_vec()).unwrap();
    archive.symlink("/init", "/bin/tool").unwrap();
    archive.directory("/tmp", 0o1777).unwrap();
    archive
}

/// What `cpio_reader` finds: name, mode, contents.
fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    cpio_reader::iter_files(bytes)
        .map(|entry| (entry.name().to_string(), entry.mode().bits(), entry.file().to_vec()))
        .collect()
}

#[test]
fn the_reader_finds_what_was_put_in() {
    let expected: [(&str, u32, &[u8]); 4] = [
        ("bin", 0o040_755, b""),
        ("bin/tool", 0o100_755, b"12345"),
        ("init", 0o120_777, b"/bin/tool"),
        ("tmp", 0o041_777, b""),
    ];
    let expected: Vec<_> = expected.iter().map(|(n, m, d)| (n.to_string(), *m, d.to_vec())).collect();
    assert_eq!(read(&sample().to_bytes()), expected);
}

#[test]
fn the_first_entry_byte_by_byte() {
    let bytes = sample().to_bytes();
    let header = b"070701\
        00000001000041ed00000000000000000000000100000000\
        0000000000000000000000000000000000000000\
        0000000400000000bin\0\0\0";
    assert_eq!(&bytes[..header.len()], header);
    assert_eq!(bytes.len() % 4, 0);
    assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
}

#[test]
fn the_order_of_adding_does_not_show() {
    let mut other = Archive::new();
    other.directory("/tmp", 0o1777).unwrap();
    other.symlink("/init", "/bin/tool").unwrap();
    other.file("/bin/tool", 0o755, b"12345".to_vec()).unwrap();
    assert_eq!(other.to_bytes(), sample().to_bytes());
}

#[test]
fn parents_keep_the_mode_they_were_given() {
    let mut archive = Archive::new();
    archive.directory("/root", 0o700).unwrap();
    archive.file("/root/.profile", 0o644, Vec::new()).unwrap();
    assert_eq!(read(&archive.to_bytes())[0], ("root".into(), 0o040_700, Vec::new()));
}

#[test]
fn what_cannot_be_unpacked_is_refused() {
    let mut archive = sample();
    assert_eq!(
        archive.file("/bin/tool/inner", 0o644, Vec::new()).unwrap_err().to_string(),
        "/bin/tool/inner cannot be added: /bin/tool is not a folder"
    );
    assert!(archive.file("/bin", 0o644, Vec::new()).is_err());
    assert!(archive.directory("/bin/tool", 0o755).is_err());
    for path in ["", "/", "a/../b", "./a", "a//b", "a\0b"] {
        assert!(archive.directory(path, 0o755).is_err(), "{path:?}");
    }
    assert_eq!(archive, sample());
}

proptest! {
    #[test]
    fn any_tree_reads_back(files in proptest::collection::btree_map("[a-z]{1,9}/[a-z]{1,9}", any::<Vec<u8>>(), 0..9)) {
        let mut archive = Archive::new();
        for (path, contents) in &files {
            archive.file(path, 0o644, contents.clone()).unwrap();
        }
        let back: BTreeMap<_, _> = read(&archive.to_bytes())
            .into_iter()
            .filter(|(_, mode, _)| mode & 0o170_000 == 0o100_000)
            .map(|(path, _, contents)| (path, contents))
            .collect();
        prop_assert_eq!(back, files);
    }
}
