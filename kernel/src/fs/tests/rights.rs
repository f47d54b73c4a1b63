use super::*;
use crate::{
    fs::{FileTable, KernelActor, OpenFlags, socket::SocketKind},
    mm::user::Source,
};

struct Pair {
    files: [Arc<File>; 2],
}

impl Pair {
    fn new() -> Self {
        let open = |socket: Arc<Socket>| socket.open(OpenFlags::empty(), &KernelActor).unwrap();
        Self { files: Socket::pair(SocketKind::Stream, &KernelActor).map(open) }
    }

    /// Sends a file to the second.
    fn send(&self, file: &Arc<File>) {
        let mut rights = Some(Rights::new(vec![file.clone()], u64::MAX).unwrap());
        let sender = super::super::Identity::real(&KernelActor);
        let socket = socket_of(&self.files[0]).unwrap();
        socket.send(None, sender, &mut Source::kernel(b"x"), &mut rights).unwrap();
    }
}

#[test]
fn nobody_looks_for_circles_in_a_chain() {
    let (below, middle, above) = (Pair::new(), Pair::new(), Pair::new());
    middle.send(&below.files[1]);
    above.send(&middle.files[1]);
    let [_writes, file] = middle.files;
    assert!(is_in_flight(&file) && !holds_itself(&file));
}

#[test]
fn a_circle_is_looked_for_when_its_last_descriptor_is_closed() {
    let (one, two) = (Pair::new(), Pair::new());
    one.send(&two.files[1]);
    two.send(&one.files[1]);
    let ([_, one], [_, two]) = (one.files, two.files);
    let weak = Arc::downgrade(&one);
    assert!(!holds_itself(&one), "somebody has the other one");
    let table = FileTable::new();
    for file in [one, two] {
        let descriptor = table.install(file, false, 1024).unwrap();
        assert!(weak.upgrade().is_some());
        table.close(descriptor).unwrap();
    }
    assert!(weak.upgrade().is_none());
}
