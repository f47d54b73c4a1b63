//! The console: the first serial port, COM1, a 16550 or one of its heirs.
//!
//! Sending is polled: the FIFO takes 16 bytes for each look at the status register, and the port is fast wherever this
//! kernel runs. (Sending by interrupt would need a buffer between, which a panic would have to empty.) Receiving raises an
//! interrupt, so that an idle kernel wakes when somebody types.

use uart_16550::{
    BaudRate, Config, Uart16550,
    backend::PioBackend,
    spec::registers::{FifoTriggerLevel, IER},
};

const COM1: u16 = 0x3f8;

/// The ISA interrupt line of COM1.
pub const LINE: u8 = 4;

/// `None` when no port answered. Taken for as long as it takes to send or to receive; nothing is taken inside.
static PORT: spin::Mutex<Option<Uart16550<PioBackend>>> = spin::Mutex::new(None);

/// How often a sender looks whether the port is free before it takes it anyway: only a panic in the middle of sending
/// finds it busy on a machine with one CPU.
const PATIENCE: usize = 1_000_000;

fn port() -> Uart16550<PioBackend> {
    // SAFETY: on a PC nothing but a serial port answers there; `init` finds out whether one does.
    unsafe { Uart16550::new_port(COM1) }.expect("the address leaves room for the registers")
}

/// Finds the port and makes it ready: 115200 baud, 8 bits, no parity.
pub fn initialize() {
    let mut found = port();
    let config = Config {
        interrupts: IER::DATA_READY,
        baud_rate: BaudRate::Baud115200,
        // Interrupt at the first byte; a person is typing.
        fifo_trigger_level: Some(FifoTriggerLevel::One),
        ..Config::DEFAULT
    };
    if found.init(config).is_ok() {
        *PORT.lock() = Some(found);
    }
}

/// Sends everything, waiting for the port as need be. Without a port the bytes are lost.
pub fn write(bytes: &[u8]) {
    for _ in 0..PATIENCE {
        if let Some(mut port) = PORT.try_lock() {
            if let Some(port) = port.as_mut() {
                port.send_bytes_exact(bytes);
            }
            return;
        }
        core::hint::spin_loop();
    }
    // A second handle on the same device; the first one's owner is what we are reporting the end of.
    port().send_bytes_exact(bytes);
}

/// The next byte received.
pub fn read() -> Option<u8> {
    PORT.lock().as_mut()?.try_receive_byte().ok()
}
