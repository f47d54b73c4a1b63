//! Several trees as one.

use super::{Somebody, Tree};
use crate::{
    abi::Errno,
    fs::{
        FileSystem, KernelActor, Mount, MountFlags, OpenFlags, Path, mount, mounting, nsfs,
        tmpfs::TemporaryFileSystem,
    },
    ns::{nsfs::Handle, user::UserNamespace},
};
use alloc::{sync::Arc, vec::Vec};

fn other(tree: &Tree, place: &str) -> Arc<Mount> {
    let file_system = TemporaryFileSystem::with_permissions("tmpfs", 0o755);
    let root = file_system.root().clone();
    let mount = Mount::new(file_system, root, b"other", MountFlags::empty());
    mount::attach(&mount, tree.find(place).unwrap()).unwrap();
    mount
}

/// Takes a mount away again, so that other tests do not see it in the table.
fn detach_all(mounts: &[Arc<Mount>]) {
    mounts.iter().rev().for_each(mount::detach);
}

#[test]
fn a_mount_hides_and_dot_dot_leads_out_again() {
    let tree = Tree::new();
    tree.directory("/m");
    tree.file("/m/hidden");
    let below = tree.find("/m").unwrap();
    let mount = other(&tree, "/m");
    assert_eq!(tree.reach("/m/hidden"), Err(Errno::ENOENT));
    tree.file("/m/shown");
    assert_eq!(tree.reach("/m/shown").unwrap(), "/m/shown");
    assert_eq!(tree.reach("/m/..").unwrap(), "/");
    assert!(tree.find("/m").unwrap() != below);
    let second = other(&tree, "/m");
    assert_eq!(tree.reach("/m/shown"), Err(Errno::ENOENT), "one on the other");
    assert_eq!(tree.reach("/m/..").unwrap(), "/");
    let mut walk = tree.walk(&KernelActor);
    let parent = walk.find_parent(b"/m").unwrap();
    assert_eq!(super::names::remove_directory(&walk, &parent), Err(Errno::EBUSY));
    detach_all(&[mount, second]);
    assert_eq!(tree.reach("/m/hidden").unwrap(), "/m/hidden");
}

#[test]
fn a_tree_is_mounted_into_itself_as_it_was() {
    let tree = Tree::new();
    tree.directory("/a");
    let first = other(&tree, "/a");
    tree.directory("/a/b");
    let second = other(&tree, "/a/b");
    tree.directory("/a/b/c");
    let before = mount::all();
    mounting::bind(&tree.find("/a").unwrap(), tree.find("/a/b/c").unwrap(), true).unwrap();
    let is_new = |mount: &Arc<Mount>| !before.iter().any(|other| Arc::ptr_eq(other, mount));
    let below = |mount: &Arc<Mount>| {
        Arc::ptr_eq(&mount.file_system, &first.file_system)
            || Arc::ptr_eq(&mount.file_system, &second.file_system)
    };
    let new: Vec<_> = mount::all().into_iter().filter(|mount| is_new(mount) && below(mount)).collect();
    assert_eq!(new.len(), 2);
    assert!(Arc::ptr_eq(&tree.find("/a/b/c").unwrap().mount, &new[0]));
    assert!(Arc::ptr_eq(&tree.find("/a/b/c/b").unwrap().mount, &new[1]));
    assert!(Arc::ptr_eq(&tree.find("/a/b/c/b/c").unwrap().mount, &new[1]), "nothing is mounted there");
    detach_all(&new);
    detach_all(&[first, second]);
}

#[test]
fn a_mount_in_use_is_busy() {
    let tree = Tree::new();
    tree.directory("/m");
    drop(other(&tree, "/m"));
    tree.file("/m/file");
    let root = Somebody::root();
    let unmount = |lazily| mounting::unmount(tree.find("/m").unwrap(), lazily, &root);
    let user = Somebody::user(1000, &[]);
    assert_eq!(mounting::unmount(tree.find("/m").unwrap(), false, &user), Err(Errno::EPERM));
    let file = tree.open(&root, "/m/file", OpenFlags::READ_ONLY).unwrap();
    assert_eq!(unmount(false), Err(Errno::EBUSY));
    drop(file);
    tree.directory("/m/inner");
    drop(other(&tree, "/m/inner"));
    assert_eq!(unmount(false), Err(Errno::EBUSY), "something is mounted on it");
    assert_eq!(unmount(true), Ok(()));
    assert_eq!(unmount(false), Err(Errno::EINVAL), "nothing is mounted there any more");
}

#[test]
fn read_only_means_it() {
    let tree = Tree::new();
    tree.directory("/m");
    let mount = other(&tree, "/m");
    tree.file("/m/file");
    mounting::remount(&mount.top(), MountFlags::READ_ONLY.bits()).unwrap();
    let open = |flags| tree.open(&KernelActor, "/m/file", flags).map(|_| ());
    assert_eq!(open(OpenFlags::READ_ONLY), Ok(()));
    assert_eq!(open(OpenFlags::READ_WRITE), Err(Errno::EROFS));
    assert_eq!(open(OpenFlags::TRUNCATE), Err(Errno::EROFS));
    let made = tree.open(&KernelActor, "/m/new", OpenFlags::CREATE).map(|_| ());
    assert_eq!(made, Err(Errno::EROFS));
    assert_eq!(
        mounting::remount(&tree.find("/m/file").unwrap(), 0),
        Err(Errno::EINVAL),
        "nothing is mounted there"
    );
    detach_all(&[mount]);
}

#[test]
fn a_bound_namespace_lives_and_is_named_by_its_place() {
    let tree = Tree::new();
    tree.file("/ns");
    let credentials = Somebody::root().credentials;
    let (namespace, _) = UserNamespace::create(&credentials).unwrap();
    let weak = Arc::downgrade(&namespace);
    let path = nsfs::path(Handle::User(namespace));
    let text = path.describe(&tree.root).text;
    assert!(text.starts_with(b"user:["));
    mounting::bind(&path, tree.find("/ns").unwrap(), false).unwrap();
    drop(path);
    assert!(weak.upgrade().is_some());
    let place = tree.find("/ns").unwrap();
    assert_eq!(place.describe(&tree.root).text, b"/ns");
    assert_eq!(place.mount.root.inode().pseudo_name(), Some(text));
    assert!(nsfs::handle_at(&place).is_some());
    assert_eq!(tree.open(&KernelActor, "/ns", OpenFlags::READ_WRITE).map(|_| ()), Err(Errno::EPERM));
    mounting::unmount(place, false, &Somebody::root()).unwrap();
    assert!(weak.upgrade().is_none(), "the last hold is gone");
}

#[test]
fn only_things_of_one_sort_are_mounted_on_each_other() {
    let tree = Tree::new();
    tree.directory("/d");
    tree.file("/f");
    let mount = Mount::new(
        tree.root.mount.file_system.clone(),
        tree.find("/f").unwrap().entry,
        b"none",
        MountFlags::empty(),
    );
    assert_eq!(mount::attach(&mount, tree.find("/d").unwrap()), Err(Errno::ENOTDIR));
    assert_eq!(
        mounting::mount_new(tree.find("/d").unwrap(), b"ext4", b"", 0, &mount::Options::NONE),
        Err(Errno::ENODEV)
    );
    let elsewhere = Path { mount: mount.clone(), entry: mount.root.clone() };
    assert_eq!(mounting::bind(&elsewhere, tree.find("/f").unwrap(), false), Err(Errno::EINVAL));
}
