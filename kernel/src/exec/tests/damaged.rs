//! What is no program, or one that makes no sense, and memory that runs out.

use super::*;

#[test]
fn what_is_not_a_program_for_this_machine_is_enoexec() {
    let good = Builder::new(abi::ET_EXEC, 0x40_0000);
    let error = |bytes: &[u8]| {
        load_with(TestFile::new(bytes), &strings(&["x"], &[]), &mut |_| Err(Errno::ENOENT)).err()
    };
    let bytes = good.bytes();
    assert_eq!(error(&bytes), None);
    assert_eq!(error(b""), Some(Errno::ENOEXEC));
    assert_eq!(error(b"just some text\n"), Some(Errno::ENOEXEC));
    for length in [1, 4, 16, 63, 64, 100, 64 + 56 * 3 - 1, 0x1000, 0x1f01] {
        assert_eq!(error(&bytes[..length]), Some(Errno::ENOEXEC), "cut after {length} bytes");
    }
    // Class, byte order, version; type, machine; size and number of program headers.
    for (at, value) in
        [(4, 1), (5, 2), (6, 0), (16, 1), (16, 4), (18, 3), (18, 183), (54, 32), (56, 0), (57, 0xff)]
    {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(error(&bytes), Some(Errno::ENOEXEC), "byte {at} is {value}");
    }
}

#[test]
fn segments_that_make_no_sense_are_refused() {
    let top = Hardware::USER_END as u64;
    let cases = [
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x900, 0x800, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, top - 0x1000, 0x100, 0x2000, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, u64::MAX - 0x100, 0x100, 0x2000, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x100, u64::MAX, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, u64::MAX, u64::MAX, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, 0x10, 0x40_0000, 0x100, 0x100, 0x1000), Errno::EINVAL),
        (Header(abi::PT_LOAD, READ, u64::MAX - 0xfff, 0x40_0000, 0x100, 0x100, 0x1000), Errno::ENOEXEC),
        (Header(abi::PT_LOAD, READ, 0, 0x40_0000, 0x10_0000, 0x10_0000, 0x1000), Errno::ENOEXEC),
        (Header(abi::PT_LOAD, READ, 0, 0, 0x100, 0x100, 0x1000), Errno::EPERM),
        (Header(abi::PT_LOAD, READ | WRITE, 0, 0x40_0000, 0, 1 << 40, 0x1000), Errno::ENOMEM),
        (
            Header(abi::PT_LOAD, READ, 0, 0x7fff_fffd_0000 - SHORTER as u64, 0x100, 0x2_0000, 0x1000),
            Errno::EEXIST,
        ),
        (Header(abi::PT_NOTE, READ, 0, 0x40_0000, 0x100, 0x100, 0x1000), Errno::EINVAL),
    ];
    for (header, errno) in cases {
        let program = Builder { headers: vec![header], ..Builder::new(abi::ET_EXEC, 0x40_0000) };
        assert_eq!(load_alone(&program).err(), Some(errno), "{header:?}");
    }
    for path in [&b"\0"[..], b"/lib/ld.so", &[b'x'; 300][..]] {
        let program = Builder::new(abi::ET_DYN, 0).with_interpreter(&path[..path.len().min(0x100)]);
        assert_eq!(load_alone(&program).err(), Some(Errno::ENOEXEC), "an interpreter called {path:?}");
    }
}

#[test]
fn a_stack_is_executable_only_on_request() {
    let mut program = Builder::new(abi::ET_EXEC, 0x40_0000);
    program.headers[2].1 |= EXECUTE;
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert!(map(&space).contains(&String::from("7ffffffc6000-7ffffffe7000 rwx [stack]")));
    let mut growing = 0;
    space.regions(&mut |region| growing += u32::from(region.flags.contains(RegionFlags::GROWS_DOWN)));
    assert_eq!(growing, 1);
}

#[test]
fn whatever_memory_is_left_a_failed_load_gives_it_all_back() {
    let program = Builder::new(abi::ET_DYN, 0);
    let program = program.with(Header(abi::PT_LOAD, READ | WRITE, 0x2000, 0x7000, 0x10, 0x20, 0x1000)).file();
    let long = "x".repeat(30_000);
    let (special, arguments) = (TestSpecial::outside(), strings(&["test", &long], &["E=1"]));
    // The page of zeros is there once and for all.
    drop(load_in(special.clone(), program.clone(), &arguments, &mut |_| Err(Errno::ENOENT)));
    let before = held();
    let mut needed = 0;
    for left in 0.. {
        let mut no_interpreter = |_: &[u8]| Err(Errno::ENOENT);
        let load = || load_in(special.clone(), program.clone(), &arguments, &mut no_interpreter);
        let result = with_frames_left(left, load);
        match result {
            Err(errno) => assert_eq!(errno, Errno::ENOMEM, "with {left} frames"),
            Ok(_) => {
                needed = left;
                break;
            }
        }
        assert_eq!(held(), before, "with {left} frames");
    }
    assert!((8..40).contains(&needed), "{needed} frames");
    assert_eq!(held(), before);
}

proptest! {
    #[test]
    fn no_file_makes_the_kernel_stumble(
        kind in prop::sample::select(vec![abi::ET_EXEC, abi::ET_DYN]),
        changes in prop::collection::vec((0usize..64 + 56 * 5, any::<u8>()), 0..12),
        extra in any::<(u32, u64, u64, u64, u64)>(),
        length in prop::option::of(0usize..0x3000),
    ) {
        let (flags, offset, address, file_size, memory_size) = extra;
        let mut bytes = Builder::new(kind, 0x40_0000)
            .with_interpreter(b"/lib/ld.so\0")
            .with(Header(abi::PT_LOAD, flags, offset & 0x3fff, address >> (address % 64), file_size & 0x3fff, memory_size >> (memory_size % 64), 1 << (flags % 64)))
            .bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        let (program, linker) = (TestFile::new(&bytes), TestFile::new(&bytes));
        let arguments = strings(&["x"], &[]);
        let before = held();
        let result = load_with(program, &arguments, &mut |_| Ok(linker.clone()));
        if let Ok(Loaded { space, entry, .. }) = &result {
            // Running it may fault, never more.
            let _ = space.fault(*entry, crate::arch::Access::Execute);
        }
        drop(result);
        drop(linker);
        drop(arguments);
        prop_assert!(held() <= before);
    }
}
