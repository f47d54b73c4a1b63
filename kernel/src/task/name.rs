//! A task's name, as ps(1) shows it: prctl(2) PR_SET_NAME, `/proc/PID/comm`.
//!
//! An array rather than a string: it has a greatest length, is copied with the task, and making one cannot fail.

use core::fmt;

/// A task's name: at most 15 bytes, any but zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; Name::SIZE]);

impl Name {
    /// Bytes it takes with the zero at its end, prctl(2) PR_GET_NAME.
    pub const SIZE: usize = 16;

    /// The name in these bytes: up to the first zero, cut to 15.
    pub fn new(bytes: &[u8]) -> Self {
        let mut name = [0; Self::SIZE];
        let ends = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()).min(Self::SIZE - 1);
        name[..ends].copy_from_slice(&bytes[..ends]);
        Self(name)
    }

    /// Without the zeros.
    pub fn bytes(&self) -> &[u8] {
        let ends = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::SIZE);
        &self.0[..ends]
    }

    /// With the zeros.
    pub fn padded(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes().utf8_chunks() {
            formatter.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                formatter.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_cut_to_fifteen_bytes_and_end_at_a_zero() {
        assert_eq!(Name::new(b"a program with a long name").to_string(), "a program with ");
        assert_eq!(Name::new(b"sh\0rest").bytes(), b"sh");
        assert_eq!(Name::new(b"caf\xe9").to_string(), "caf\u{fffd}");
        assert_eq!(Name::new(b"123456789012345678").padded()[15], 0);
    }
}
