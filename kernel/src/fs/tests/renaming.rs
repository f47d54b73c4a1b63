//! rename(2).

use super::{Somebody, Tree};
use crate::{
    abi::{Errno, Result},
    fs::{
        Actor, AttributeChanges, KernelActor,
        renaming::{RenameFlags, rename},
    },
};

fn move_as(tree: &Tree, actor: &dyn Actor, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
    let mut walk = tree.walk(actor);
    let from = walk.find_parent(from.as_bytes())?;
    let to = walk.find_parent(to.as_bytes())?;
    rename(&walk, &from, &to, flags)
}

fn move_name(tree: &Tree, from: &str, to: &str) -> Result<()> {
    move_as(tree, &KernelActor, from, to, RenameFlags::empty())
}

fn tree() -> Tree {
    let tree = Tree::new();
    tree.directory("/a");
    tree.directory("/a/b");
    tree.directory("/c");
    tree.file("/a/file");
    tree.file("/other");
    tree
}

#[test]
fn names_move_and_users_see_it() {
    let tree = tree();
    let (file, directory) = (tree.find("/a/file").unwrap(), tree.find("/a/b").unwrap());
    move_name(&tree, "/a/file", "/c/moved").unwrap();
    assert_eq!(file.describe(&tree.root).text, b"/c/moved");
    assert_eq!(tree.reach("/a/file"), Err(Errno::ENOENT));
    move_name(&tree, "/a", "/c/a").unwrap();
    assert_eq!(directory.describe(&tree.root).text, b"/c/a/b", "a directory above it moved");
    assert_eq!(tree.reach("/c/a/b/..").unwrap(), "/c/a");
    assert_eq!(tree.root.inode().metadata().links, 3);
    assert_eq!(tree.find("/c").unwrap().inode().metadata().links, 3);
}

#[test]
fn what_is_replaced_is_gone_but_not_for_its_users() {
    let tree = tree();
    let (moving, replaced) = (tree.find("/a/file").unwrap(), tree.find("/other").unwrap());
    move_name(&tree, "/a/file", "/other").unwrap();
    assert!(replaced.entry.is_removed());
    assert_eq!(replaced.inode().metadata().links, 0);
    let found = tree.find("/other").unwrap();
    assert_eq!(found.inode().metadata().number, moving.inode().metadata().number);
    let empty = tree.find("/c").unwrap();
    move_name(&tree, "/a", "/c").unwrap();
    assert!(empty.entry.is_removed() && empty.entry.names().is_removed());
    assert!(tree.find("/c/b").is_ok());
}

#[test]
fn what_cannot_be() {
    let tree = tree();
    tree.file("/c/x");
    for (from, to, error) in [
        ("/none", "/x", Errno::ENOENT),
        ("/a", "/a/b/x", Errno::EINVAL),
        ("/a", "/a/x", Errno::EINVAL),
        ("/a/b", "/a", Errno::ENOTEMPTY),
        ("/a", "/c", Errno::ENOTEMPTY),
        ("/a", "/other", Errno::ENOTDIR),
        ("/other", "/a", Errno::EISDIR),
        ("/other/", "/x", Errno::ENOTDIR),
        ("/other", "/x/", Errno::ENOTDIR),
        ("/a/.", "/x", Errno::EBUSY),
        ("/a", "/c/..", Errno::EBUSY),
        ("/other", "/none/x", Errno::ENOENT),
    ] {
        assert_eq!(move_name(&tree, from, to), Err(error), "{from} {to}");
    }
    assert_eq!(move_name(&tree, "/other", "/other"), Ok(()));
    assert_eq!(move_name(&tree, "/a", "/new/"), Ok(()), "a slash is right for a directory");
}

#[test]
fn flags_refuse_and_exchange() {
    let tree = tree();
    let with = |from: &str, to: &str, flags| move_as(&tree, &KernelActor, from, to, flags);
    assert_eq!(with("/other", "/a", RenameFlags::NO_REPLACE), Err(Errno::EEXIST));
    assert_eq!(with("/other", "/none", RenameFlags::EXCHANGE), Err(Errno::ENOENT));
    assert_eq!(with("/a", "/a/b", RenameFlags::EXCHANGE), Err(Errno::EINVAL));
    let (file, directory) = (tree.find("/other").unwrap(), tree.find("/a/b").unwrap());
    with("/other", "/a/b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(file.describe(&tree.root).text, b"/a/b");
    assert_eq!(directory.describe(&tree.root).text, b"/other");
    assert_eq!(tree.find("/a").unwrap().inode().metadata().links, 2);
    assert_eq!(tree.root.inode().metadata().links, 5);
    with("/other", "/c", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(directory.describe(&tree.root).text, b"/c", "within one directory");
    assert_eq!(RenameFlags::new(3), Err(Errno::EINVAL));
    assert_eq!(RenameFlags::new(4), Err(Errno::EINVAL));
}

#[test]
fn a_directory_one_may_not_write_does_not_move_elsewhere() {
    let tree = tree();
    let open_to_all = AttributeChanges { permissions: Some(0o777), ..Default::default() };
    tree.root.inode().change(&open_to_all).unwrap();
    tree.find("/c").unwrap().inode().change(&open_to_all).unwrap();
    let user = Somebody::user(1000, &[]);
    let with = |from: &str, to: &str| move_as(&tree, &user, from, to, RenameFlags::empty());
    assert_eq!(with("/a", "/c/a"), Err(Errno::EACCES), "its `..` would change");
    assert_eq!(with("/a", "/b"), Ok(()), "within a directory it does not");
    assert_eq!(with("/b/file", "/c/file"), Err(Errno::EACCES));
}
