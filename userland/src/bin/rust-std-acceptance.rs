//! A Rust program as anyone would write it: plain `std`, its own start, threads, channels, clocks, files, processes.
//!
//! It knows nothing of the kernel under it. Each check prints one KTAP line; the exit status is 0 when all hold.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, io, panic, thread};

type Check = (&'static str, fn() -> io::Result<bool>);

const CHECKS: &[Check] = &[
    ("threads add up what a channel brings", channel),
    ("a rendezvous channel hands over one by one", rendezvous),
    ("mutex, condition variable and read-write lock", locks),
    ("scoped threads share the stack, a thread's panic stays its own", scopes),
    ("thread-local values and names of threads", locals),
    ("Instant never steps back, in any thread", instant),
    ("sleep and timeouts take as long as they should", sleeping),
    ("SystemTime is after 2020 and agrees with Instant", system_time),
    ("files: write, seek, read, metadata, rename, remove", files),
    ("directories and paths", directories),
    ("a child process with pipes at both ends", child),
    ("environment, arguments and the current directory", environment),
    ("a large heap: vectors, maps, strings", heap),
    ("the number of processors is known", processors),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "--echo") {
        return echo();
    }
    println!("KTAP version 1\n1..{}", CHECKS.len());
    let mut failures = 0;
    for (index, (what, check)) in CHECKS.iter().enumerate() {
        match check() {
            Ok(true) => println!("ok {} {what}", index + 1),
            Ok(false) => {
                failures += 1;
                println!("not ok {} {what}", index + 1);
            }
            Err(error) => {
                failures += 1;
                println!("not ok {} {what} # why: {error}", index + 1);
            }
        }
    }
    ExitCode::from(u8::from(failures > 0))
}

/// The child's part: every line back in capitals, then a word on standard error and a status.
fn echo() -> ExitCode {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", line.to_uppercase());
    }
    eprintln!("done");
    ExitCode::from(7)
}

fn other(message: &str) -> io::Error {
    io::Error::other(message.to_string())
}

fn joined<T>(handle: thread::JoinHandle<T>) -> io::Result<T> {
    handle.join().map_err(|_| other("a thread panicked"))
}

fn channel() -> io::Result<bool> {
    let (sender, receiver) = mpsc::channel::<u64>();
    let workers: Vec<_> = (0..8u64)
        .map(|worker| {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|number| _ = sender.send(worker * 1000 + number)))
        })
        .collect();
    drop(sender);
    let (mut sum, mut count) = (0, 0);
    for number in receiver {
        sum += number;
        count += 1;
    }
    workers.into_iter().try_for_each(joined)?;
    Ok(count == 4000 && sum == (0..8u64).map(|worker| worker * 1000 * 500 + 499 * 250).sum())
}

fn rendezvous() -> io::Result<bool> {
    let (sender, receiver) = mpsc::sync_channel::<String>(0);
    let worker = thread::spawn(move || (0..50).for_each(|number| _ = sender.send(format!("item {number}"))));
    let items: Vec<String> = receiver.iter().collect();
    joined(worker)?;
    Ok(items.len() == 50 && items[49] == "item 49")
}

fn locks() -> io::Result<bool> {
    let queue = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let table = Arc::new(RwLock::new(HashMap::new()));
    let barrier = Arc::new(Barrier::new(3));
    let workers: Vec<_> = (0..2u32)
        .map(|worker| {
            let (queue, table, barrier) = (Arc::clone(&queue), Arc::clone(&table), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                for number in 0..200 {
                    if let Ok(mut items) = queue.0.lock() {
                        items.push(number);
                    }
                    queue.1.notify_all();
                    if let Ok(mut table) = table.write() {
                        table.insert((worker, number), number * 2);
                    }
                }
            })
        })
        .collect();
    barrier.wait();
    let mut taken = 0;
    while taken < 400 {
        let items = queue.0.lock().map_err(|_| other("poisoned"))?;
        let waited = queue.1.wait_timeout_while(items, Duration::from_secs(20), |items| items.is_empty());
        let (mut items, timeout) = waited.map_err(|_| other("poisoned"))?;
        if timeout.timed_out() {
            return Err(other("nothing came for twenty seconds"));
        }
        taken += items.drain(..).count();
    }
    workers.into_iter().try_for_each(joined)?;
    let table = table.read().map_err(|_| other("poisoned"))?;
    Ok(table.len() == 400 && table[&(1, 199)] == 398)
}

fn scopes() -> io::Result<bool> {
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for part in 0..4u64 {
            let total = &total;
            scope.spawn(move || (0..1000).for_each(|_| _ = total.fetch_add(part, Ordering::Relaxed)));
        }
    });
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    // Where panics abort there is nothing to catch, and trying would end this program.
    let caught = !cfg!(panic = "unwind") || thread::spawn(|| panic!("on purpose")).join().is_err();
    panic::set_hook(hook);
    Ok(total.into_inner() == 6000 && caught)
}

fn locals() -> io::Result<bool> {
    thread_local!(static VALUE: std::cell::Cell<u32> = const { std::cell::Cell::new(5) });
    static ONCE: OnceLock<String> = OnceLock::new();
    VALUE.set(6);
    let worker = thread::Builder::new().name("a worker".into()).stack_size(64 * 1024).spawn(|| {
        let named = thread::current().name() == Some("a worker");
        named && VALUE.get() == 5 && ONCE.get_or_init(|| "once".into()) == "once"
    })?;
    Ok(joined(worker)? && VALUE.get() == 6 && ONCE.get().is_some())
}

fn instant() -> io::Result<bool> {
    let start = Instant::now();
    let latest = Mutex::new(start);
    let ordered = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while start.elapsed() < Duration::from_millis(60) {
                        let Ok(mut latest) = latest.lock() else { return false };
                        let now = Instant::now();
                        if now < *latest {
                            return false;
                        }
                        *latest = now;
                    }
                    true
                })
            })
            .collect();
        workers.into_iter().all(|worker| worker.join().unwrap_or(false))
    });
    Ok(ordered)
}

fn sleeping() -> io::Result<bool> {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(30));
    let slept = start.elapsed();
    let (_sender, receiver) = mpsc::channel::<()>();
    let start = Instant::now();
    let timed_out = receiver.recv_timeout(Duration::from_millis(30)) == Err(mpsc::RecvTimeoutError::Timeout);
    let waited = start.elapsed();
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(20));
    let parked = start.elapsed();
    let long = Duration::from_secs(5);
    let least = Duration::from_millis(30);
    Ok(timed_out && slept >= least && slept < long && waited >= least && waited < long && parked < long)
}

fn system_time() -> io::Result<bool> {
    let (wall, steady) = (SystemTime::now(), Instant::now());
    thread::sleep(Duration::from_millis(50));
    let (wall, steady) = (wall.elapsed().map_err(io::Error::other)?, steady.elapsed());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let apart = wall.abs_diff(steady);
    Ok(since > Duration::from_secs(1_577_836_800) && apart < Duration::from_millis(40))
}

fn files() -> io::Result<bool> {
    let path = env::temp_dir().join(format!("rust-std-{}", std::process::id()));
    let moved = path.with_extension("moved");
    let mut file = fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    for number in 0..2000 {
        writeln!(file, "line {number}")?;
    }
    file.seek(SeekFrom::Start(0))?;
    let lines = BufReader::new(&file).lines().map_while(Result::ok).count();
    file.seek(SeekFrom::End(-10))?;
    let mut tail = String::new();
    file.read_to_string(&mut tail)?;
    file.set_len(100)?;
    let length = fs::metadata(&path)?.len();
    fs::rename(&path, &moved)?;
    let gone = !path.exists() && moved.exists();
    fs::remove_file(&moved)?;
    let missing = fs::read(&moved).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    Ok(lines == 2000 && tail == "line 1999\n" && length == 100 && gone && missing)
}

fn directories() -> io::Result<bool> {
    let root = env::temp_dir().join(format!("rust-std-dir-{}", std::process::id()));
    fs::create_dir_all(root.join("a/b/c"))?;
    fs::write(root.join("a/b/file"), "text")?;
    std::os::unix::fs::symlink("b/file", root.join("a/link"))?;
    let mut names: Vec<String> = fs::read_dir(root.join("a/b"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into())
        .collect();
    names.sort();
    let read = fs::read_to_string(root.join("a/link"))?;
    let real = fs::canonicalize(root.join("a/./b/../link"))? == fs::canonicalize(&root)?.join("a/b/file");
    fs::remove_dir_all(&root)?;
    Ok(names == ["c", "file"] && read == "text" && real && !root.exists())
}

fn child() -> io::Result<bool> {
    let mut child = Command::new(env::current_exe()?)
        .arg("--echo")
        .env("LANG", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| other("no pipe"))?;
    let writer = thread::spawn(move || (0..1000).try_for_each(|number| writeln!(input, "word {number}")));
    let output = child.wait_with_output()?;
    joined(writer)??;
    let text = String::from_utf8_lossy(&output.stdout);
    let right = text.lines().count() == 1000 && text.ends_with("WORD 999\n");
    let missing =
        Command::new("/no/such/program").status().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    Ok(right && output.stderr == b"done\n" && output.status.code() == Some(7) && missing)
}

fn environment() -> io::Result<bool> {
    let here = env::current_dir()?;
    env::set_current_dir("/")?;
    let root = env::current_dir()?;
    env::set_current_dir(&here)?;
    Ok(env::args().count() >= 1 && root.as_os_str() == "/" && env::current_dir()? == here)
}

fn heap() -> io::Result<bool> {
    let mut words: HashMap<String, Vec<u8>> = HashMap::new();
    for number in 0..3000u32 {
        words.insert(format!("key {number}"), vec![number as u8; (number % 977) as usize]);
    }
    words.retain(|key, _| key.ends_with('7'));
    let large: Vec<u64> = (0..500_000).collect();
    let sum: u64 = large.iter().sum();
    let sorted = {
        let mut values: Vec<u32> = (0..20_000u32).map(|number| number.wrapping_mul(2_654_435_761)).collect();
        values.sort_unstable();
        values.is_sorted()
    };
    Ok(words.len() == 300 && sum == 124_999_750_000 && sorted)
}

fn processors() -> io::Result<bool> {
    Ok(thread::available_parallelism()?.get() >= 1)
}
