//! From names to places.

use super::{Somebody, Tree};
use crate::{
    abi::Errno,
    fs::{
        AttributeChanges, KernelActor, LastLink, LastName,
        renaming::{self, RenameFlags},
        walk::{NAME_MAX, PATH_MAX, Restrictions},
    },
};
use alloc::{format, string::ToString, sync::Arc};

fn tree() -> Tree {
    let tree = Tree::new();
    tree.directory("/a");
    tree.directory("/a/b");
    tree.file("/a/file");
    tree
}

#[test]
fn names_lead_where_they_say() {
    let tree = tree();
    for (name, place) in [
        ("/", "/"),
        ("///", "/"),
        ("/a/b", "/a/b"),
        ("//a//b//", "/a/b"),
        ("/a/./b/.", "/a/b"),
        ("/a/b/..", "/a"),
        ("/a/b/../file", "/a/file"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("a", "/a"),
        (".", "/"),
    ] {
        assert_eq!(tree.reach(name).unwrap(), place, "{name}");
    }
    for (name, error) in [
        ("", Errno::ENOENT),
        ("/none", Errno::ENOENT),
        ("/none/a", Errno::ENOENT),
        ("/a/file/", Errno::ENOTDIR),
        ("/a/file/.", Errno::ENOTDIR),
        ("/a/file/..", Errno::ENOTDIR),
        ("/a/file/x", Errno::ENOTDIR),
    ] {
        assert_eq!(tree.reach(name), Err(error), "{name}");
    }
}

#[test]
fn links_are_followed_from_where_they_are() {
    let tree = tree();
    tree.link("/to-file", "a/file");
    tree.link("/a/b/up", "../file");
    tree.link("/a/absolute", "/a/b");
    tree.link("/dangling", "nowhere");
    tree.link("/to-directory", "a/b");
    for (name, place) in [
        ("/to-file", "/a/file"),
        ("/a/b/up", "/a/file"),
        ("/a/absolute/up", "/a/file"),
        ("/to-directory/", "/a/b"),
        ("/to-directory/../file", "/a/file"),
    ] {
        assert_eq!(tree.reach(name).unwrap(), place, "{name}");
    }
    assert_eq!(tree.reach("/dangling"), Err(Errno::ENOENT));
    assert_eq!(tree.reach("/to-file/"), Err(Errno::ENOTDIR));
    let actor = KernelActor;
    let keep = |name: &str| {
        let found = tree.walk(&actor).find(name.as_bytes(), LastLink::Keep).unwrap();
        alloc::string::String::from_utf8(found.describe(&tree.root).text).unwrap()
    };
    assert_eq!(keep("/dangling"), "/dangling");
    assert_eq!(keep("/to-directory/"), "/a/b", "a slash follows the link after all");
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let tree = tree();
    tree.link("/0", "a");
    for number in 1..=40 {
        tree.link(&format!("/{number}"), &(number - 1).to_string());
    }
    assert_eq!(tree.reach("/39").unwrap(), "/a");
    assert_eq!(tree.reach("/40"), Err(Errno::ELOOP));
    tree.link("/loop", "loop");
    assert_eq!(tree.reach("/loop"), Err(Errno::ELOOP));
    tree.link("/loop-in-the-middle", "loop/x");
    assert_eq!(tree.reach("/loop-in-the-middle/y"), Err(Errno::ELOOP));
}

#[test]
fn names_and_paths_have_a_longest() {
    let tree = tree();
    let longest = "x".repeat(NAME_MAX);
    tree.file(&longest);
    assert!(tree.find(&longest).is_ok());
    assert_eq!(tree.reach(&format!("{longest}x")), Err(Errno::ENAMETOOLONG));
    let deep = "./".repeat(PATH_MAX / 2 - 1);
    assert_eq!(tree.reach(&deep).unwrap(), "/");
    assert_eq!(tree.reach(&format!("{deep}./")), Err(Errno::ENAMETOOLONG));
}

#[test]
fn every_directory_on_the_way_must_be_searchable() {
    let tree = tree();
    let closed = AttributeChanges { permissions: Some(0o700), ..Default::default() };
    tree.find("/a").unwrap().inode().change(&closed).unwrap();
    let user = Somebody::user(1000, &[]);
    let find = |name: &str| tree.walk(&user).find(name.as_bytes(), LastLink::Follow).map(|_| ());
    assert_eq!(find("/a"), Ok(()));
    for name in ["/a/b", "/a/none", "/a/.", "/a/..", "/a/b/../.."] {
        assert_eq!(find(name), Err(Errno::EACCES), "{name}");
    }
    assert!(tree.find("/a/b").is_ok(), "root overrules");
}

#[test]
fn the_last_name_is_told_apart() {
    let tree = tree();
    let actor = KernelActor;
    for (name, directory, last, slash) in [
        ("/a/new", "/a", LastName::Name(b"new".to_vec()), false),
        ("/a/new//", "/a", LastName::Name(b"new".to_vec()), true),
        ("/a/..", "/a", LastName::DotDot, false),
        ("a/.", "/a", LastName::Dot, false),
        ("/", "/", LastName::Root, false),
    ] {
        let parent = tree.walk(&actor).find_parent(name.as_bytes()).unwrap();
        assert_eq!(parent.directory.describe(&tree.root).text, directory.as_bytes(), "{name}");
        assert_eq!((parent.last, parent.slash), (last, slash), "{name}");
    }
}

#[test]
fn restrictions_hold() {
    let tree = tree();
    tree.link("/a/out", "../a/file");
    tree.link("/a/absolute", "/file");
    tree.link("/a/inside", "b/../file");
    let actor = KernelActor;
    let find = |name: &str, restrictions| {
        let start = tree.find("/a").unwrap();
        let mut walk = tree.walk(&actor).starting_at(start);
        walk.restrict(restrictions);
        walk.find(name.as_bytes(), LastLink::Follow).map(|_| ())
    };
    for (name, restrictions, result) in [
        ("inside", Restrictions::BENEATH, Ok(())),
        ("out", Restrictions::BENEATH, Err(Errno::EXDEV)),
        ("absolute", Restrictions::BENEATH, Err(Errno::EXDEV)),
        ("/a/file", Restrictions::BENEATH, Err(Errno::EXDEV)),
        ("..", Restrictions::BENEATH, Err(Errno::EXDEV)),
        ("absolute", Restrictions::IN_ROOT, Ok(())),
        ("/file", Restrictions::IN_ROOT, Ok(())),
        ("../../file", Restrictions::IN_ROOT, Ok(())),
        ("inside", Restrictions::NO_LINKS, Err(Errno::ELOOP)),
        ("b/../file", Restrictions::NO_LINKS, Ok(())),
    ] {
        assert_eq!(find(name, restrictions), result, "{name} {restrictions:?}");
    }
}

#[test]
fn a_removed_directory_is_described_as_such() {
    let tree = tree();
    let place = tree.find("/a/b").unwrap();
    let actor = KernelActor;
    let mut walk = tree.walk(&actor);
    let parent = walk.find_parent(b"/a/b").unwrap();
    super::names::remove_directory(&walk, &parent).unwrap();
    let described = place.describe(&tree.root);
    assert!(described.removed && described.reachable);
    assert_eq!(described.into_link(), b"/a/b (deleted)");
}

#[test]
fn a_name_used_lately_goes_when_it_is_taken_away() {
    let tree = tree();
    let actor = KernelActor;
    let look = || Arc::downgrade(tree.find("/a/file").unwrap().inode());
    let first = look();
    assert!(first.upgrade().is_some() && first.ptr_eq(&look()));
    let mut walk = tree.walk(&actor);
    let (file, moved) = (walk.find_parent(b"/a/file").unwrap(), walk.find_parent(b"/a/b/moved").unwrap());
    renaming::rename(&walk, &file, &moved, RenameFlags::empty()).unwrap();
    assert_eq!(tree.reach("/a/file"), Err(Errno::ENOENT));
    assert_eq!(tree.reach("/a/b/moved").unwrap(), "/a/b/moved");
    tree.file("/a/file");
    assert!(!look().ptr_eq(&first), "another file of the same name");
    super::names::unlink(&walk, &moved).unwrap();
    assert_eq!(tree.reach("/a/b/moved"), Err(Errno::ENOENT));
    assert!(first.upgrade().is_none(), "nothing holds a file without a name");
}

#[test]
fn a_very_deep_tree_is_taken_apart_without_recursion() {
    let tree = tree();
    let actor = KernelActor;
    let mut here = tree.root.clone();
    for _ in 0..20_000 {
        let mut walk = tree.walk(&actor).starting_at(here);
        let parent = walk.find_parent(b"d").unwrap();
        let making = super::Making::plain(crate::fs::Kind::Directory, 0o755);
        here = super::names::make(&walk, &parent, making).unwrap();
    }
    drop(tree);
    drop(here);
}
