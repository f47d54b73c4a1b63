//! Timers, tasks, sockets and signals as a program on tokio uses them: several threads around one epoll file.
//!
//! Prints KTAP.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, sleep_until, timeout};

/// How late a timer may be on a busy host; being early is never forgiven.
const LATE: Duration = Duration::from_secs(5);

type Outcome = Result<(), String>;
type Check = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn within(start: Instant, least: Duration) -> Outcome {
    let took = start.elapsed();
    if least <= took && took <= least + LATE { Ok(()) } else { Err(format!("took {took:?}, not {least:?}")) }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn sleeping() -> Outcome {
    for length in [1, 5, 30].map(milliseconds) {
        let start = Instant::now();
        sleep(length).await;
        within(start, length)?;
    }
    let start = Instant::now();
    sleep_until((start + milliseconds(20)).into()).await;
    within(start, milliseconds(20))
}

async fn ticking() -> Outcome {
    let (start, mut ticks) = (Instant::now(), interval(milliseconds(5)));
    for _ in 0..=10 {
        ticks.tick().await;
    }
    within(start, milliseconds(50))
}

async fn deadlines() -> Outcome {
    let start = Instant::now();
    match timeout(milliseconds(20), std::future::pending::<()>()).await {
        Err(_) => within(start, milliseconds(20)),
        Ok(()) => Err("what never ends has ended".into()),
    }
}

async fn tasks() -> Outcome {
    let (sender, mut receiver) = mpsc::channel(10);
    for number in 1..=200u64 {
        let sender = sender.clone();
        tokio::spawn(async move {
            sleep(milliseconds(number % 7)).await;
            let _ = sender.send(number).await;
        });
    }
    drop(sender);
    let mut sum = 0;
    while let Some(number) = receiver.recv().await {
        sum += number;
    }
    if sum == 20_100 { Ok(()) } else { Err(format!("the sum is {sum}")) }
}

async fn blocking() -> Outcome {
    let start = Instant::now();
    let sleeper = || std::thread::sleep(milliseconds(20));
    for thread in [0; 4].map(|_| tokio::task::spawn_blocking(sleeper)) {
        thread.await.map_err(shown)?;
    }
    within(start, milliseconds(20))
}

async fn sockets() -> Outcome {
    let path = format!("/tmp/tokio-{}", std::process::id());
    let listener = UnixListener::bind(&path).map_err(shown)?;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        bytes.reverse();
        stream.write_all(&bytes).await
    });
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        let peer = stream.peer_cred()?.pid();
        let sent: Vec<u8> = (0..1_000_000u32).map(|index| (index % 251) as u8).collect();
        stream.write_all(&sent).await?;
        stream.shutdown().await?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await?;
        received.reverse();
        Ok((received == sent, peer))
    };
    let (same, peer) = exchange.await.map_err(|error: std::io::Error| error.to_string())?;
    std::fs::remove_file(&path).map_err(shown)?;
    server.await.map_err(shown)?.map_err(shown)?;
    let own = Some(std::process::id() as i32);
    if same && peer == own { Ok(()) } else { Err(format!("same bytes: {same}, peer {peer:?}")) }
}

async fn signals() -> Outcome {
    let mut arrivals = signal(SignalKind::user_defined1()).map_err(shown)?;
    tokio::spawn(async {
        sleep(milliseconds(10)).await;
        // SAFETY: a signal to ourselves, for which there is a handler by now.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    });
    match timeout(LATE, arrivals.recv()).await {
        Ok(Some(())) => Ok(()),
        _ => Err("it did not come".into()),
    }
}

const CASES: [(&str, Check); 7] = [
    ("sleep and sleep_until are never early", || Box::pin(sleeping())),
    ("an interval ticks in time", || Box::pin(ticking())),
    ("a timeout ends what never ends", || Box::pin(deadlines())),
    ("200 tasks send their numbers", || Box::pin(tasks())),
    ("threads that block do not hold up others", || Box::pin(blocking())),
    ("a mebibyte through a UNIX socket and back", || Box::pin(sockets())),
    ("a signal wakes a task", || Box::pin(signals())),
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("Bail out! no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("KTAP version 1\n1..{}", CASES.len());
    let mut status = ExitCode::SUCCESS;
    for (number, (rule, check)) in (1..).zip(CASES) {
        match runtime.block_on(check()) {
            Ok(()) => println!("ok {number} {rule}"),
            Err(why) => {
                println!("not ok {number} {rule} # why: {why}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}
