//! Contents against a plain array; limits; mappings that share pages with reads and writes.

use super::{
    super::tests::{Tree, prepare, read, write},
    contents::Contents,
    *,
};
use crate::{
    fs::{KernelActor, Mount, MountFlags, OpenFlags},
    mm::frames::tests::{held, with_frames_left},
};
use alloc::vec::Vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
    Punch { start: u64, length: u64 },
    Fill { start: u64, length: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    const END: u64 = 5 * PAGE_SIZE as u64;
    prop_oneof![
        (0..END, prop::collection::vec(1u8.., 1..6000))
            .prop_map(|(offset, bytes)| Step::Write { offset, bytes }),
        (0..END).prop_map(Step::Truncate),
        (0..END, 1..END).prop_map(|(start, length)| Step::Punch { start, length }),
        (0..END, 1..END).prop_map(|(start, length)| Step::Fill { start, length }),
    ]
}

/// Does a step to contents.
fn apply(contents: &Contents, step: &Step) {
    match step {
        Step::Write { offset, bytes } => {
            for (index, byte) in bytes.iter().enumerate() {
                let (page, within) = contents::split(offset + index as u64);
                contents.page_to_write(page).unwrap().write(within, &[*byte]);
                contents.extend_to(offset + index as u64 + 1);
            }
        }
        Step::Truncate(length) => drop(contents.truncate(*length).unwrap()),
        Step::Punch { start, length } => drop(contents.punch(*start, start + length)),
        Step::Fill { start, length } => contents.fill(*start, start + length).unwrap(),
    }
}

/// Does it to an array.
fn model(model: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write { offset, bytes } => {
            let end = *offset as usize + bytes.len();
            model.resize(model.len().max(end), 0);
            model[*offset as usize..end].copy_from_slice(bytes);
        }
        Step::Truncate(length) => model.resize(*length as usize, 0),
        Step::Punch { start, length } => {
            let end = model.len().min((start + length) as usize);
            let start = end.min(*start as usize);
            model[start..end].fill(0);
        }
        Step::Fill { .. } => {}
    }
}

fn all_of(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (page, length) = contents.page_to_read(bytes.len() as u64);
        if length == 0 {
            return bytes;
        }
        let start = bytes.len();
        bytes.resize(start + length, 0);
        if let Some(page) = page {
            page.read(start % PAGE_SIZE, &mut bytes[start..]);
        }
    }
}

proptest! {
    #[test]
    fn contents_are_those_of_an_array(steps in prop::collection::vec(step(), 1..20)) {
        let account = Account::new(1000);
        let before = held();
        {
            let contents = Contents::new(&account);
            let mut expected = Vec::new();
            for step in &steps {
                apply(&contents, step);
                model(&mut expected, step);
                prop_assert_eq!(contents.length(), expected.len() as u64);
                prop_assert!(all_of(&contents) == expected, "after {:?}", step);
                prop_assert_eq!(account.pages.load(Relaxed), contents.pages());
            }
        }
        prop_assert_eq!(account.pages.load(Relaxed), 0);
        prop_assert_eq!(held(), before);
    }
}

#[test]
fn sizes_are_read_with_units() {
    let all = 1000;
    for (text, pages) in [
        ("4096", Some(1)),
        ("4097", Some(2)),
        ("8k", Some(2)),
        ("1m", Some(256)),
        ("1G", Some(262_144)),
        ("50%", Some(500)),
        ("0", Some(all)),
        ("", None),
        ("k", None),
        ("1x", None),
        ("99999999999999999999", None),
        ("99999999999999999g", None),
    ] {
        assert_eq!(parse_size(text, all), pages, "{text}");
    }
}

#[test]
fn a_full_file_system_says_so_and_room_comes_back() {
    prepare();
    let file_system = TemporaryFileSystem::new("tmpfs", &Options::new("size=8k,mode=700")).unwrap();
    let mount = Mount::new(file_system.clone(), file_system.root().clone(), b"none", MountFlags::empty());
    let tree = Tree { root: mount.top() };
    assert_eq!(tree.root.inode().metadata().permissions, 0o700);
    let file = tree.open(&KernelActor, "/file", OpenFlags::READ_WRITE | OpenFlags::CREATE).unwrap();
    assert_eq!(write(&file, &[1; 10_000]), Ok(8192), "what fits");
    assert_eq!(write(&file, b"x"), Err(Errno::ENOSPC));
    assert_eq!(file_system.statistics().free, 0);
    file.operations().truncate(1).unwrap();
    assert_eq!(file_system.statistics().free, 1);
    assert_eq!(write(&file, b"x"), Ok(1));
    file.set_position(0);
    assert_eq!(read(&file, 2).unwrap(), [1, 0]);
    assert!(TemporaryFileSystem::new("tmpfs", &Options::new("sise=1")).is_err());
}

#[test]
fn without_memory_a_write_fails_and_leaves_the_file_as_it_was() {
    let tree = Tree::new();
    let file = tree.open(&KernelActor, "/file", OpenFlags::READ_WRITE | OpenFlags::CREATE).unwrap();
    with_frames_left(1, || {
        assert_eq!(write(&file, &[1; 8192]), Ok(4096));
        assert_eq!(write(&file, &[1]), Err(Errno::ENOMEM));
    });
    assert_eq!(file.path().inode().metadata().size, 4096);
}

#[test]
fn a_mapping_sees_the_files_own_pages() {
    let tree = Tree::new();
    let file = tree.open(&KernelActor, "/file", OpenFlags::READ_WRITE | OpenFlags::CREATE).unwrap();
    write(&file, b"old").unwrap();
    let pages = file.pages(false).unwrap();
    let page = pages.page(0).unwrap();
    page.write(0, b"new");
    file.set_position(0);
    assert_eq!(read(&file, 3).unwrap(), b"new");
    assert!(pages.page(1).is_err(), "behind the end");
    assert!(pages.page_if_present(0).is_some() && pages.page_if_present(1).is_none());
    file.operations().truncate(3 * 4096).unwrap();
    assert!(pages.page_if_present(1).is_none(), "a hole");
    assert!(pages.page(1).is_ok());
    let mut name = alloc::string::String::new();
    pages.write_name(&mut name).unwrap();
    assert!(name.ends_with("file"));
    assert_eq!(pages.identity().inode, file.path().inode().metadata().number);
}
