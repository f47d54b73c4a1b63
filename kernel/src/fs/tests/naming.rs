//! Making and removing.

use super::{
    Somebody, Tree,
    names::{self, Making},
};
use crate::{
    abi::{Errno, Result},
    fs::{Actor, AttributeChanges, DeviceNumber, KernelActor, Kind, OpenFlags, directory_file},
};
use alloc::{format, string::String, vec::Vec};

fn unlink(tree: &Tree, actor: &dyn Actor, name: &str) -> Result<()> {
    let mut walk = tree.walk(actor);
    let parent = walk.find_parent(name.as_bytes())?;
    names::unlink(&walk, &parent)
}

fn remove_directory(tree: &Tree, actor: &dyn Actor, name: &str) -> Result<()> {
    let mut walk = tree.walk(actor);
    let parent = walk.find_parent(name.as_bytes())?;
    names::remove_directory(&walk, &parent)
}

fn make(tree: &Tree, actor: &dyn Actor, name: &str, kind: Kind) -> Result<()> {
    let mut walk = tree.walk(actor);
    let parent = walk.find_parent(name.as_bytes())?;
    names::make(&walk, &parent, Making::plain(kind, 0o777)).map(|_| ())
}

fn link(tree: &Tree, from: &str, to: &str) -> Result<()> {
    let object = tree.find(from)?;
    let actor = KernelActor;
    let mut walk = tree.walk(&actor);
    let parent = walk.find_parent(to.as_bytes())?;
    names::link(&walk, &object, &parent)
}

#[test]
fn what_can_be_made_where() {
    let tree = Tree::new();
    tree.file("/file");
    for (name, kind, result) in [
        ("/d", Kind::Directory, Ok(())),
        ("/e/", Kind::Directory, Ok(())),
        ("/d/f", Kind::Regular, Ok(())),
        ("/d", Kind::Directory, Err(Errno::EEXIST)),
        ("/file", Kind::Directory, Err(Errno::EEXIST)),
        ("/g/", Kind::Regular, Err(Errno::ENOENT)),
        ("/.", Kind::Directory, Err(Errno::EEXIST)),
        ("/d/..", Kind::Directory, Err(Errno::EEXIST)),
        ("/", Kind::Directory, Err(Errno::EEXIST)),
        ("/none/x", Kind::Directory, Err(Errno::ENOENT)),
        ("/file/x", Kind::Directory, Err(Errno::ENOTDIR)),
    ] {
        assert_eq!(make(&tree, &KernelActor, name, kind), result, "{name}");
    }
}

#[test]
fn what_can_be_removed_how() {
    let tree = Tree::new();
    tree.directory("/d");
    tree.file("/d/file");
    tree.link("/link", "d");
    for (name, result) in [
        ("/d", Err(Errno::EISDIR)),
        ("/d/", Err(Errno::EISDIR)),
        ("/d/file/", Err(Errno::ENOTDIR)),
        ("/.", Err(Errno::EISDIR)),
        ("/none", Err(Errno::ENOENT)),
        ("/none/", Err(Errno::ENOENT)),
        ("/link", Ok(())),
    ] {
        assert_eq!(unlink(&tree, &KernelActor, name), result, "unlink {name}");
    }
    for (name, result) in [
        ("/d", Err(Errno::ENOTEMPTY)),
        ("/d/file", Err(Errno::ENOTDIR)),
        ("/d/.", Err(Errno::EINVAL)),
        ("/d/..", Err(Errno::ENOTEMPTY)),
        ("/", Err(Errno::EBUSY)),
        ("/none", Err(Errno::ENOENT)),
    ] {
        assert_eq!(remove_directory(&tree, &KernelActor, name), result, "rmdir {name}");
    }
    unlink(&tree, &KernelActor, "/d/file").unwrap();
    let place = tree.find("/d").unwrap();
    remove_directory(&tree, &KernelActor, "/d/").unwrap();
    assert_eq!(place.inode().metadata().links, 0);
    let mut walk = tree.walk(&KernelActor).starting_at(place);
    let parent = walk.find_parent(b"x").unwrap();
    let made = names::make(&walk, &parent, Making::plain(Kind::Regular, 0o644)).map(|_| ());
    assert_eq!(made, Err(Errno::ENOENT), "nothing is made in a removed directory");
}

#[test]
fn links_are_counted() {
    let tree = Tree::new();
    tree.directory("/d");
    let file = tree.file("/a");
    link(&tree, "/a", "/d/b").unwrap();
    assert_eq!(file.inode().metadata().links, 2);
    assert_eq!(link(&tree, "/a", "/d/b"), Err(Errno::EEXIST));
    assert_eq!(link(&tree, "/d", "/e"), Err(Errno::EPERM));
    unlink(&tree, &KernelActor, "/a").unwrap();
    assert_eq!(file.inode().metadata().links, 1);
    unlink(&tree, &KernelActor, "/d/b").unwrap();
    assert_eq!(file.inode().metadata().links, 0);
    assert!(file.is_removed());
    assert_eq!(tree.root.inode().metadata().links, 3, "its own two, and the `..` of /d");
}

#[test]
fn a_sticky_directory_protects_the_names_in_it() {
    let tree = Tree::new();
    tree.directory("/tmp");
    let open_to_all = AttributeChanges { permissions: Some(0o1777), ..Default::default() };
    tree.find("/tmp").unwrap().inode().change(&open_to_all).unwrap();
    let (one, other) = (Somebody::user(1000, &[]), Somebody::user(1001, &[]));
    make(&tree, &one, "/tmp/mine", Kind::Regular).unwrap();
    assert_eq!(unlink(&tree, &other, "/tmp/mine"), Err(Errno::EPERM));
    assert_eq!(unlink(&tree, &one, "/tmp/mine"), Ok(()));
    make(&tree, &one, "/tmp/mine", Kind::Directory).unwrap();
    assert_eq!(remove_directory(&tree, &other, "/tmp/mine"), Err(Errno::EPERM));
    assert_eq!(remove_directory(&tree, &KernelActor, "/tmp/mine"), Ok(()));
}

#[test]
fn a_directory_that_is_not_ones_own_is_closed() {
    let tree = Tree::new();
    tree.directory("/d");
    tree.file("/d/file");
    let user = Somebody::user(1000, &[]);
    assert_eq!(make(&tree, &user, "/d/new", Kind::Regular), Err(Errno::EACCES));
    assert_eq!(make(&tree, &user, "/d/file", Kind::Regular), Err(Errno::EEXIST), "existing comes first");
    assert_eq!(unlink(&tree, &user, "/d/file"), Err(Errno::EACCES));
    assert_eq!(unlink(&tree, &user, "/d/none"), Err(Errno::ENOENT));
}

#[test]
fn set_group_id_directories_hand_their_group_on() {
    let tree = Tree::new();
    tree.directory("/d");
    let set = AttributeChanges { permissions: Some(0o2777), gid: Some(500), ..Default::default() };
    tree.find("/d").unwrap().inode().change(&set).unwrap();
    let user = Somebody::user(1000, &[]);
    make(&tree, &user, "/d/file", Kind::Regular).unwrap();
    make(&tree, &user, "/d/sub", Kind::Directory).unwrap();
    let (file, sub) = (tree.find("/d/file").unwrap(), tree.find("/d/sub").unwrap());
    assert_eq!((file.inode().metadata().uid, file.inode().metadata().gid), (1000, 500));
    assert_eq!(sub.inode().metadata().permissions & 0o2000, 0o2000);
}

#[test]
fn device_nodes_take_a_capability() {
    let tree = Tree::new();
    let actor = Somebody::user(1000, &[]);
    let open_to_all = AttributeChanges { permissions: Some(0o777), ..Default::default() };
    tree.root.inode().change(&open_to_all).unwrap();
    let mut walk = tree.walk(&actor);
    let parent = walk.find_parent(b"/null").unwrap();
    let represents = DeviceNumber::new(1, 3);
    let making = Making { represents, ..Making::plain(Kind::CharacterDevice, 0o666) };
    assert_eq!(names::make(&walk, &parent, making).map(|_| ()), Err(Errno::EPERM));
    assert!(names::make(&walk, &parent, Making::plain(Kind::Fifo, 0o666)).is_ok());
}

/// Everything that a listing tells from where the file stands, at most `count` names.
fn list(file: &crate::fs::File, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    directory_file::list(file, &KernelActor, &mut |listed| {
        let wanted = names.len() < count;
        if wanted {
            names.push(String::from_utf8(listed.name.to_vec()).unwrap());
        }
        wanted
    })
    .unwrap();
    names
}

#[test]
fn a_listing_goes_on_while_names_come_and_go() {
    let tree = Tree::new();
    tree.directory("/d");
    for number in 0..10 {
        tree.file(&format!("/d/{number}"));
    }
    let file = tree.open(&KernelActor, "/d", OpenFlags::DIRECTORY).unwrap();
    assert_eq!(list(&file, 4), [".", "..", "0", "1"]);
    unlink(&tree, &KernelActor, "/d/0").unwrap();
    unlink(&tree, &KernelActor, "/d/2").unwrap();
    tree.file("/d/new");
    assert_eq!(list(&file, 3), ["3", "4", "5"], "none twice, none left out");
    assert_eq!(list(&file, 100), ["6", "7", "8", "9", "new"]);
    assert!(list(&file, 100).is_empty());
    file.set_position(0);
    assert_eq!(list(&file, 100).len(), 11);
}
