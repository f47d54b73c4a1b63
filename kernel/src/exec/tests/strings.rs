//! Arguments and environment, and scripts that add to them.

use super::*;

#[test]
fn thousands_of_long_strings_arrive_and_too_many_do_not() {
    let long = "x".repeat(1000);
    let many: Vec<&str> = core::iter::repeat_n(&long[..], 1500).collect();
    let arguments = strings(&many, &many[..500]);
    let loaded =
        load_with(Builder::new(abi::ET_DYN, 0).file(), &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    let told = told(&loaded);
    assert_eq!((told.arguments.len(), told.environment.len()), (1500, 500));
    assert!(told.arguments.iter().chain(&told.environment).all(|string| *string == long));
    // A quarter of 8 MiB, 1009 bytes each: 2078 of them.
    let bytes: Vec<&[u8]> = core::iter::repeat_n(long.as_bytes(), 2100).collect();
    assert_eq!(Arguments::from_kernel(&bytes, &[], 8 << 20).err(), Some(Errno::E2BIG));
    assert!(Arguments::from_kernel(&bytes[..2070], &[], 8 << 20).is_ok());
    assert_eq!(
        Arguments::from_kernel(&bytes[..200], &[], 4096).err(),
        Some(Errno::E2BIG),
        "128 KiB at least"
    );
}

#[test]
fn strings_come_from_a_program_with_linux_limits() {
    const AT: usize = 0x100_0000;
    let space = space_with(TestSpecial::outside());
    let memory = crate::mm::tests::support::anonymous(100, Permissions::READ | Permissions::WRITE);
    space.map(crate::mm::tests::support::at(AT, memory)).unwrap();
    let array = |pointers: &[usize]| space.write_array(UserPointer::new(AT), pointers).unwrap();
    space.write_bytes(AT + 0x1000, b"one\0two\0\0").unwrap();
    array(&[AT + 0x1000, AT + 0x1004, AT + 0x1008, 0, AT + 0x1004, 0]);
    let arguments = Arguments::from_user(&space, AT, AT + 32, 8 << 20).unwrap();
    assert_eq!((arguments.count(), arguments.environment_count(), arguments.bytes()), (3, 1, 13));
    let none = Arguments::from_user(&space, 0, 0, 8 << 20).unwrap();
    assert_eq!((none.count(), none.environment_count(), none.bytes()), (1, 0, 1), "one argument, empty");
    let error = |arguments, environment| Arguments::from_user(&space, arguments, environment, 8 << 20).err();
    assert_eq!([error(8, 0), error(0, 8), error(AT + 100 * 4096, 0)], [Some(Errno::EFAULT); 3]);
    array(&[0x10, 0]);
    assert_eq!(error(AT, 0), Some(Errno::EFAULT));
    space.write_bytes(AT + 0x1000, &vec![b'x'; 32 * 4096]).unwrap();
    array(&[AT + 0x1001, 0]);
    assert!(error(AT, 0).is_none(), "128 KiB with the NUL");
    array(&[AT + 0x1000, 0]);
    assert_eq!(error(AT, 0), Some(Errno::E2BIG));
}

#[test]
fn scripts_lead_to_their_interpreter_with_arguments_in_front() {
    let files: BTreeMap<&[u8], Arc<dyn PageSource>> = BTreeMap::from([
        (&b"/script"[..], TestFile::new(b"#!/middle -e -x\n") as _),
        (b"/middle", TestFile::new(b"#! /program\n") as _),
        (b"/program", Builder::new(abi::ET_EXEC, 0x40_0000).file()),
        (b"/loop", TestFile::new(b"#!/loop\n") as _),
        (b"/lost", TestFile::new(b"#!/nowhere\n") as _),
    ]);
    let mut open = |path: &[u8]| files.get(path).cloned().ok_or(Errno::ENOENT);
    let mut arguments = strings(&["called", "a", "b"], &["E=1"]);
    let program =
        follow_scripts(files[&b"/script"[..]].clone(), b"/script", &mut arguments, &mut open).unwrap();
    let loaded = load_with(program, &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    let told = told(&loaded);
    assert_eq!(told.arguments, ["/program", "/middle", "-e -x", "/script", "a", "b"]);
    assert_eq!(told.environment, ["E=1"]);
    let layout = loaded.space.layout();
    assert_eq!(layout.environment.len(), 4);
    let mut error = |path: &'static [u8]| {
        follow_scripts(files[path].clone(), path, &mut strings(&["x"], &[]), &mut open).err()
    };
    assert_eq!(
        [error(b"/loop"), error(b"/lost"), error(b"/program")],
        [Some(Errno::ELOOP), Some(Errno::ENOENT), None]
    );
}

#[test]
fn five_scripts_deep_is_well_and_six_is_not() {
    let file = |index: usize| match index {
        0 => Builder::new(abi::ET_EXEC, 0x40_0000).file(),
        _ => TestFile::new(alloc::format!("#!/{}\n", index - 1).as_bytes()) as Arc<dyn PageSource>,
    };
    let mut open = |path: &[u8]| Ok(file(core::str::from_utf8(&path[1..]).unwrap().parse().unwrap()));
    let mut follow = |index| follow_scripts(file(index), b"/x", &mut strings(&["x"], &[]), &mut open).err();
    assert_eq!([follow(5), follow(6)], [None, Some(Errno::ELOOP)]);
}
