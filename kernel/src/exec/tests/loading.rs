//! Where a program's parts lie, and what it is told before it runs.

use super::*;

#[test]
fn a_program_with_fixed_addresses_lies_where_it_says() {
    let program = Builder::new(abi::ET_EXEC, 0x40_0000);
    let Loaded { space, entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, 0x40_0400);
    assert_eq!(
        map(&space),
        [
            "400000-401000 r-x file",
            "402000-403000 rw- file",
            "403000-406000 rw- ",
            "7ffffffc6000-7ffffffe7000 rw- [stack]",
            "7fffffff7000-7fffffffb000 r-- [vvar]",
            "7fffffffb000-7fffffffd000 r-- [vvar_vclock]",
            "7fffffffd000-7ffffffff000 r-x [vdso]",
        ]
    );
    let mut data = [0; 5];
    space.read_bytes(0x40_2f00, &mut data).unwrap();
    assert_eq!(&data, b"data\0");
    assert_eq!(load_byte(&space, 0x40_3000), Ok(0), "what follows in the file is not the program's");
    assert_eq!(
        [load_byte(&space, 0x7fff_ffff_7000 - SHORTER), load_byte(&space, 0x7fff_ffff_d000 - SHORTER)],
        [Ok(SYSTEM), Ok(IMAGE)]
    );
    let layout = space.layout();
    assert_eq!(
        (layout.code, layout.data, layout.heap),
        (0x40_0000..0x40_0800, 0x40_2f00..0x40_3000, 0x40_6000..0x40_6000)
    );
    assert_eq!(space.set_break(0x40_6123), 0x40_6123);
    assert_eq!(load_byte(&space, 0x40_6fff), Ok(0));
    assert_eq!(space.set_break(0), 0x40_6123);
}

#[test]
fn zeros_follow_the_file_in_the_last_page() {
    let mut program = Builder::new(abi::ET_EXEC, 0x40_0000);
    program.headers[1] = Header(abi::PT_LOAD, READ | WRITE, 0x2000, 0x40_3000, 0x10, 0x2000, 0x1000);
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert_eq!([load_byte(&space, 0x40_300f), load_byte(&space, 0x40_3010)], [Ok(0xee), Ok(0)]);
    assert_eq!([load_byte(&space, 0x40_3fff), load_byte(&space, 0x40_4fff)], [Ok(0), Ok(0)]);
    program.headers[1].1 = READ;
    let Loaded { space, .. } = load_alone(&program).unwrap();
    assert_eq!(load_byte(&space, 0x40_3010), Ok(0xee), "what cannot be written is left as it is");
}

#[test]
fn a_program_that_can_go_anywhere_goes_below_the_heaps_room() {
    let program = Builder::new(abi::ET_DYN, 0);
    let Loaded { space, entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, ANYWHERE + 0x400);
    assert_eq!(map(&space)[0], alloc::format!("{ANYWHERE:x}-{:x} r-x file", ANYWHERE + 0x1000));
    assert_eq!(space.layout().heap.start, ANYWHERE + 0x6000);
    // Aligned as it asks, and linked to an address that is not 0.
    let mut program = Builder::new(abi::ET_DYN, 0x20_0000);
    program.headers[0].6 = 0x20_0000;
    let Loaded { entry, .. } = load_alone(&program).unwrap();
    assert_eq!(entry, (ANYWHERE & !0x1f_ffff) + 0x400);
}

#[test]
fn an_interpreter_is_loaded_too_and_runs_first() {
    let program = Builder::new(abi::ET_DYN, 0).with_interpreter(b"/lib/ld.so\0");
    let mut linker = Builder::new(abi::ET_DYN, 0);
    linker.headers[0].6 = 0x1_0000;
    let mut asked = Vec::new();
    let mut open = |path: &[u8]| {
        asked.push(path.to_vec());
        Ok(linker.file())
    };
    let loaded = load_with(program.file(), &strings(&["x"], &[]), &mut open).unwrap();
    assert_eq!(asked, [b"/lib/ld.so"]);
    let told = told(&loaded);
    let base = told.auxiliary[&7] as usize;
    assert_eq!(base % 0x1_0000, 0);
    assert!(
        base < loaded.space.layout().mapping_ceiling
            && base > loaded.space.layout().mapping_ceiling - 0x2_0000
    );
    assert_eq!(loaded.entry, base + 0x400);
    assert_eq!((told.auxiliary[&9], told.auxiliary[&3]), (ANYWHERE as u64 + 0x400, ANYWHERE as u64 + 0x40));
    for (bad, errno) in [
        (Err(Errno::EACCES), Errno::EACCES),
        (Ok(TestFile::new(b"#!/bin/sh\n") as Arc<dyn PageSource>), Errno::EIO),
        (Ok(TestFile::new(&[1; 100]) as Arc<dyn PageSource>), Errno::ELIBBAD),
    ] {
        let result = load_with(program.file(), &strings(&["x"], &[]), &mut |_| bad.clone());
        assert_eq!(result.unwrap_err(), errno);
    }
}

#[test]
fn a_program_is_told_what_linux_tells() {
    let arguments = strings(&["test", "", "-x"], &["HOME=/", "A="]);
    let program = Builder::new(abi::ET_EXEC, 0x40_0000);
    let loaded = load_with(program.file(), &arguments, &mut |_| Err(Errno::ENOENT)).unwrap();
    assert_eq!(loaded.stack % 16, 0);
    let told = told(&loaded);
    assert_eq!(told.arguments, ["test", "", "-x"]);
    assert_eq!(told.environment, ["HOME=/", "A="]);
    assert_eq!(told.order, [33, 51, 16, 6, 17, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 23, 25, 26, 31, 15, 0]);
    let features = Hardware::processor_features();
    for (kind, value) in [
        (33, 0x7fff_ffff_d000 - SHORTER as u64),
        (51, features.minimum_signal_stack as u64),
        (16, features.hwcap),
        (26, features.hwcap2),
        (6, 4096),
        (17, 100),
        (3, 0x40_0040),
        (4, 56),
        (5, 3),
        (7, 0),
        (8, 0),
        (9, 0x40_0400),
        (11, 1),
        (12, 2),
        (13, 3),
        (14, 4),
        (23, 1),
    ] {
        assert_eq!(told.auxiliary[&kind], value, "auxiliary vector, type {kind}");
    }
    let space = &loaded.space;
    let string = |kind| space.read_string(told.auxiliary[&kind] as usize, 100).unwrap();
    assert_eq!((&string(31)[..], &string(15)[..]), (&b"/bin/test"[..], &b"x86_64"[..]));
    let mut random = [0; 16];
    space.read_bytes(told.auxiliary[&25] as usize, &mut random).unwrap();
    assert_eq!(&random, b"sixteen  randoms");
    assert_eq!(space.auxiliary_vector().len(), told.order.len() * 2);
    let layout = space.layout();
    let bytes = |range: core::ops::Range<usize>| {
        let mut bytes = vec![0; range.len()];
        space.read_bytes(range.start, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(layout.arguments), b"test\0\0-x\0");
    assert_eq!(bytes(layout.environment), b"HOME=/\0A=\0");
    assert_eq!(layout.stack_start, loaded.stack);
    // The eight bytes above everything are zero, and they are the last of the stack.
    assert_eq!(bytes(0x7fff_fffe_6ff8 - SHORTER..0x7fff_fffe_7000 - SHORTER), [0; 8]);
}
