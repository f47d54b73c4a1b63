//! execve(2): what is refused, scripts, arguments and their limits, the auxiliary vector, what a program keeps.

use super::support::{Temporary, become_nobody, c, helper_words, needs_root, output_of};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, refused, skipped};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process::{self, Status};
use std::ffi::CString;

/// execve with these arguments and environment; only returns an error.
pub fn execve(path: &str, arguments: &[&str], environment: &[&str]) -> Result<usize, Errno> {
    let list = |texts: &[&str]| -> (Vec<CString>, Vec<usize>) {
        let strings: Vec<CString> = texts.iter().map(c).collect();
        let mut pointers: Vec<usize> = strings.iter().map(|text| text.as_ptr() as usize).collect();
        pointers.push(0);
        (strings, pointers)
    };
    let ((_keep, arguments), (_keep_too, environment)) = (list(arguments), list(environment));
    call!(libc::SYS_execve, c(path).as_c_str(), arguments.as_ptr(), environment.as_ptr())
}

/// What a program started in a child prints on its standard output.
fn printed(path: &str, arguments: &[&str], environment: &[&str]) -> Result<String, Why> {
    output_of(|| {
        let answer = execve(path, arguments, environment);
        crate::say!("execve: {answer:?}");
        1
    })
}

/// A script, executable.
fn script(name: &str, text: &str) -> Result<Temporary, Why> {
    Temporary::with(name, text.as_bytes(), 0o755)
}

/// Sends what is written to a descriptor nowhere.
fn silence(descriptor: i32) {
    let nowhere = file::open("/dev/null", libc::O_WRONLY).unwrap_or(-1);
    let _ = call!(libc::SYS_dup2, nowhere, descriptor);
}

/// The path of this binary: not the link, so that scripts can name it.
fn own_path() -> Result<String, Why> {
    file::readlink("/proc/self/exe").step("reading /proc/self/exe")
}

pub fn cases(plan: &mut Plan) {
    refusals(plan);
    scripts(plan);
    arguments(plan);
    kept(plan);
}

fn refusals(plan: &mut Plan) {
    for (what, path, errno) in [
        ("a file that is not there", "/no/such/file", Errno::ENOENT),
        ("an empty path", "", Errno::ENOENT),
        ("a directory", "/proc", Errno::EACCES),
        ("a path through a file", "/proc/version/x", Errno::ENOTDIR),
        ("a device", "/dev/null", Errno::EACCES),
    ] {
        plan.case(format!("{what} is {errno}"), move || refused("execve", execve(path, &["x"], &[]), errno));
    }
    plan.case("a path of 5000 bytes is ENAMETOOLONG", || {
        refused("execve", execve(&"/x".repeat(2500), &["x"], &[]), Errno::ENAMETOOLONG)
    });
    plan.case("a file without the permission is EACCES, for root too", || {
        let file = Temporary::with("plain", b"#!/bin/sh\n", 0o644)?;
        refused("execve", execve(&file.0, &["x"], &[]), Errno::EACCES)
    });
    for (what, bytes) in
        [("an empty file", ""), ("text", "echo hello\n"), ("two bytes", "\x7fE"), ("#! and spaces", "#!  \n")]
    {
        plan.case(format!("{what} is ENOEXEC"), move || {
            let file = script("text", bytes)?;
            refused("execve", execve(&file.0, &["x"], &[]), Errno::ENOEXEC)
        });
    }
    plan.case("a loop of symbolic links is ELOOP", || {
        let name = super::support::temporary("loop");
        call!(libc::SYS_symlink, c(&name).as_c_str(), c(&name).as_c_str()).step("symlink")?;
        let link = Temporary(name);
        refused("execve", execve(&link.0, &["x"], &[]), Errno::ELOOP)
    });
    plan.case("a failed exec leaves memory, descriptors and handlers as they were", || {
        let (_read_end, write_end) = process::pipe()?;
        let kept = vec![1, 2, 3];
        refused("execve", execve("/no/such/file", &["x"], &[]), Errno::ENOENT)?;
        equal("memory", kept, vec![1, 2, 3])?;
        call!(libc::SYS_fcntl, write_end, libc::F_GETFD).step("the descriptor").map(|_| ())
    });
}

fn scripts(plan: &mut Plan) {
    let helper = super::helper::NAME;
    plan.case("#! runs the interpreter with one argument, the script's path, then the caller's", move || {
        // Everything after the first space is one argument. As two it would name a program of this binary.
        let script = script("script", &format!("#!{} {helper} exit\n", own_path()?))?;
        let run = |path: &str| {
            process::run(|| {
                silence(2);
                let _ = execve(path, &["ignored", "exit", "5"], &[]);
                99
            })
        };
        equal("two words", run(&script.0)?, Status::Exited(127))?;
        // The interpreter's argument is the helper's name; then comes the path, which is nothing it knows: status 2.
        let alone = self::script("alone", &format!("#!{} {helper}\n", own_path()?))?;
        equal("one word", run(&alone.0)?, Status::Exited(2))
    });
    plan.case("#! of a shell: arguments, spaces around the interpreter, no last newline", || {
        let Ok(_) = file::status("/bin/sh", 0) else { return skipped("there is no /bin/sh") };
        let script = script("shell", "#! \t /bin/sh -u \t\necho \"$0|$1|$2\"")?;
        equal("output", printed(&script.0, &["ignored", "a b", "c"], &[])?, format!("{}|a b|c\n", script.0))
    });
    plan.case("a script whose interpreter is a script, four deep; five is ELOOP", || {
        let Ok(_) = file::status("/bin/sh", 0) else { return skipped("there is no /bin/sh") };
        let mut interpreter = "/bin/sh".to_string();
        let mut scripts = Vec::new();
        for depth in 1..=6 {
            let script = script(&format!("deep{depth}"), &format!("#!{interpreter}\necho depth\n"))?;
            interpreter = script.0.clone();
            scripts.push(script);
        }
        let works = |index: usize| {
            process::run(|| {
                silence(1);
                execve(&scripts[index].0, &["x"], &[]).err().map_or(0, |errno| errno.0)
            })
        };
        equal("five scripts", works(4)?, Status::Exited(0))?;
        equal("six scripts", works(5)?, Status::Exited(libc::ELOOP))
    });
    plan.case("a missing interpreter is ENOENT, one without permission EACCES, a directory EACCES", || {
        let missing = script("missing", "#!/no/such/interpreter\n")?;
        refused("missing", execve(&missing.0, &["x"], &[]), Errno::ENOENT)?;
        let plain = Temporary::with("target", b"text", 0o644)?;
        let forbidden = script("forbidden", &format!("#!{}\n", plain.0))?;
        refused("without permission", execve(&forbidden.0, &["x"], &[]), Errno::EACCES)?;
        let directory = script("directory", "#!/proc\n")?;
        refused("a directory", execve(&directory.0, &["x"], &[]), Errno::EACCES)
    });
    plan.case("an interpreter's line longer than 256 bytes is ENOEXEC when its path is cut", || {
        let long = script("long", &format!("#!/{}\n", "x".repeat(300)))?;
        refused("execve", execve(&long.0, &["x"], &[]), Errno::ENOEXEC)
    });
}

fn arguments(plan: &mut Plan) {
    let start = |words: &[&str]| -> Result<String, Why> {
        let words = helper_words(words);
        printed("/proc/self/exe", &words, &[])
    };
    plan.case("arguments arrive as they were, empty ones and odd bytes too", move || {
        let text = start(&["arguments", "", "a b", "\t", "ü"])?;
        equal(
            "arguments",
            text.lines().skip(1).collect::<Vec<_>>().join("|"),
            "arguments||a b|\t|ü".to_string(),
        )
    });
    plan.case("the environment arrives as it was", || {
        let words = helper_words(&["environment"]);
        let text = printed("/proc/self/exe", &words, &["A=1", "B=two words", "C="])?;
        equal("environment", text, "A=1\nB=two words\nC=\n".to_string())
    });
    plan.case("without any argument the program gets one, empty", || {
        let status = process::run(|| {
            silence(2);
            let _ = call!(libc::SYS_execve, c"/proc/self/exe", 0usize, 0usize);
            99
        })?;
        // Called with an empty name this binary does not know itself: its usage, and status 2.
        equal("how it ended", status, Status::Exited(2))
    });
    plan.case("one argument of 128 KiB is E2BIG, a byte less is fine", move || {
        let long = "x".repeat(128 * 1024);
        refused("128 KiB", execve("/proc/self/exe", &["selftest-helper", "exit", &long], &[]), Errno::E2BIG)?;
        let status = process::run(|| {
            let _ = execve("/proc/self/exe", &["selftest-helper", "exit", "7", &long[..128 * 1024 - 1]], &[]);
            99
        })?;
        equal("a byte less", status, Status::Exited(7))
    });
    plan.case("a mebibyte of arguments is fine, three are E2BIG (a quarter of the stack's limit)", || {
        let piece = "y".repeat(100 * 1024);
        let many = |count: usize| {
            let mut words = vec!["selftest-helper", "exit", "7"];
            words.resize(3 + count, &piece);
            process::run(|| execve("/proc/self/exe", &words, &[]).err().map_or(99, |errno| errno.0))
        };
        equal("a mebibyte", many(10)?, Status::Exited(7))?;
        equal("three mebibytes", many(30)?, Status::Exited(libc::E2BIG))
    });
    plan.case("the auxiliary vector says where the program is and what the machine is", || {
        // SAFETY: reads the vector.
        let value = |kind: u64| unsafe { libc::getauxval(kind) };
        equal("page size", value(libc::AT_PAGESZ), 4096)?;
        equal("ticks", value(libc::AT_CLKTCK), 100)?;
        equal("size of a program header", value(libc::AT_PHENT), 56)?;
        equal(
            "ids",
            (value(libc::AT_UID), value(libc::AT_EUID), value(libc::AT_GID), value(libc::AT_EGID)),
            {
                let id = |number| call!(number).unwrap_or(0) as u64;
                (id(libc::SYS_getuid), id(libc::SYS_geteuid), id(libc::SYS_getgid), id(libc::SYS_getegid))
            },
        )?;
        equal("secure", value(libc::AT_SECURE), 0)?;
        for kind in [
            libc::AT_PHDR,
            libc::AT_PHNUM,
            libc::AT_ENTRY,
            libc::AT_HWCAP,
            libc::AT_RANDOM,
            libc::AT_SYSINFO_EHDR,
        ] {
            holds(value(kind) != 0, || format!("entry {kind} is missing"))?;
        }
        // SAFETY: these entries are pointers to strings.
        let text = |kind: u64| unsafe { std::ffi::CStr::from_ptr(value(kind) as *const libc::c_char) };
        equal("platform", text(libc::AT_PLATFORM), c"x86_64")?;
        holds(!text(libc::AT_EXECFN).is_empty(), || "the program's name is empty".into())
    });
    plan.case("AT_EXECFN is the path as given, AT_RANDOM is another each time", || {
        let words = helper_words(&["vector"]);
        let lines = || -> Result<Vec<String>, Why> {
            Ok(printed("/proc/self/exe", &words, &[])?.lines().map(str::to_string).collect())
        };
        let (one, two) = (lines()?, lines()?);
        equal("the path", one[0].as_str(), "/proc/self/exe")?;
        holds(one[1] != two[1], || format!("twice {}", one[1]))
    });
}

fn kept(plan: &mut Plan) {
    plan.case("descriptors stay open unless marked to close", || {
        let (keep, close) =
            (file::open("/dev/null", libc::O_RDONLY)?, file::open("/dev/null", libc::O_RDONLY)?);
        call!(libc::SYS_fcntl, keep, libc::F_SETFD, 0).step("fcntl")?;
        let words = helper_words(&["descriptors"]);
        let text = printed("/proc/self/exe", &words, &[])?;
        let open: Vec<i32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        holds(open.contains(&keep), || format!("{keep} is missing in {open:?}"))?;
        holds(!open.contains(&close), || format!("{close} is still in {open:?}"))
    });
    plan.case("the process id, the directory and the umask stay; the name is the file's", || {
        let words = helper_words(&["file", "/proc/self/status"]);
        let text = output_of(|| {
            crate::say!("id {}", std::process::id());
            let _ = call!(libc::SYS_umask, 0o137);
            let _ = call!(libc::SYS_chdir, c"/proc");
            let _ = execve("self/exe", &words, &[]);
            1
        })?;
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).step(name);
        equal("id", value("Pid:")?, value("id ")?)?;
        equal("umask", value("Umask:")?, "0137")?;
        equal("name", value("Name:")?, "exe")
    });
    plan.case("a program runs from a copy in /tmp, and /proc/self/exe names it", || {
        let bytes = Descriptor::open("/proc/self/exe", libc::O_RDONLY)?.read_to_end()?;
        let copy = Temporary::with("copy", &bytes, 0o755)?;
        equal("link", printed(&copy.0, &["selftest-helper", "link", "/proc/self/exe"], &[])?.trim(), &copy.0)
    });
    plan.case("the set-user-id bit gives the owner's id, and AT_SECURE tells", || {
        needs_root()?;
        let bytes = Descriptor::open("/proc/self/exe", libc::O_RDONLY)?.read_to_end()?;
        let copy = Temporary::with("setuid", &bytes, 0o755)?;
        call!(libc::SYS_chown, c(&copy.0).as_c_str(), 1234, 1234).step("chown")?;
        call!(libc::SYS_chmod, c(&copy.0).as_c_str(), 0o6755).step("chmod")?;
        let words = ["selftest-helper", "identity"];
        let text = output_of(|| {
            if become_nobody().is_ok() {
                let _ = execve(&copy.0, &words, &[]);
            }
            1
        })?;
        equal("real, effective, group, effective group, secure", text.trim(), "65534 1234 65534 1234 1")
    });
    plan.case(
        "a file open for writing cannot be run: ETXTBSY, nor a running one opened for writing",
        || -> Outcome {
            let bytes = Descriptor::open("/proc/self/exe", libc::O_RDONLY)?.read_to_end()?;
            let copy = Temporary::with("busy", &bytes, 0o755)?;
            let writer = Descriptor::open(&copy.0, libc::O_WRONLY)?;
            refused("execve", execve(&copy.0, &["x"], &[]), Errno::ETXTBSY)?;
            drop(writer);
            refused("open", Descriptor::open("/proc/self/exe", libc::O_WRONLY), Errno::ETXTBSY)
        },
    );
}
