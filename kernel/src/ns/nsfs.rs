//! Namespaces seen as files: what a link in `/proc/PID/ns` leads to, and what ioctl_nsfs(2) tells of it.

use super::{Credentials, proxy::Time, user::UserNamespace};
use crate::abi::{Errno, Result, linux};
use alloc::{format, string::String, sync::Arc};
use linux_raw_sys::ioctl::{NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS};

/// `_IOR(0xb7, 13, u64)`, since Linux 6.18.
const NS_GET_ID: u32 = 0x8008_b70d;

/// A namespace, held: it lives as long as this does.
#[derive(Clone)]
pub enum Handle {
    /// A time namespace.
    #[cfg_attr(not(feature = "time_ns"), allow(dead_code, reason = "there is none to be held"))]
    Time(Arc<Time>),
    /// A user namespace.
    User(Arc<UserNamespace>),
}

/// What a question to a namespace's file is answered with.
pub enum Answer {
    /// The result of the call.
    Number(usize),
    /// A new close-on-exec descriptor for this.
    Descriptor(Handle),
    /// A user id for the program's `uid_t`.
    UserId(u32),
    /// An id for the program's 64 bits.
    Id(u64),
}

impl Handle {
    /// The inode number.
    pub fn number(&self) -> u32 {
        match self {
            Self::Time(namespace) => namespace.number(),
            Self::User(namespace) => namespace.number(),
        }
    }

    /// The id that is used only once.
    pub fn unique_id(&self) -> u64 {
        match self {
            Self::Time(namespace) => namespace.unique_id(),
            Self::User(namespace) => namespace.unique_id(),
        }
    }

    /// CLONE_NEWTIME or CLONE_NEWUSER.
    pub fn clone_flag(&self) -> u32 {
        match self {
            Self::Time(_) => linux::CLONE_NEWTIME,
            Self::User(_) => linux::CLONE_NEWUSER,
        }
    }

    /// What the link says, `time:[4026531834]`; `time_for_children` leads to a `time:` too.
    pub fn link_text(&self) -> String {
        let kind = match self {
            Self::Time(_) => "time",
            Self::User(_) => "user",
        };
        format!("{kind}:[{}]", self.number())
    }

    /// ioctl_nsfs(2).
    ///
    /// Errors: EPERM when the answer lies outside the caller's user namespace; EINVAL for what this kind has not; ENOTTY
    /// for everything else.
    pub fn ioctl(&self, command: u32, caller: &Credentials) -> Result<Answer> {
        match command {
            NS_GET_USERNS => self.owner(caller).map(|owner| Answer::Descriptor(Self::User(owner))),
            NS_GET_PARENT => match self {
                Self::User(_) => self.owner(caller).map(|parent| Answer::Descriptor(Self::User(parent))),
                Self::Time(_) => Err(Errno::EINVAL.because("time namespaces do not nest")),
            },
            NS_GET_NSTYPE => Ok(Answer::Number(self.clone_flag() as usize)),
            NS_GET_OWNER_UID => match self {
                Self::User(namespace) => {
                    let owner = caller.user_namespace.shown_user(namespace.owner());
                    Ok(Answer::UserId(owner.unwrap_or(super::credentials::OVERFLOW_ID)))
                }
                Self::Time(_) => Err(Errno::EINVAL.because("only user namespaces have an owner's id")),
            },
            NS_GET_ID => Ok(Answer::Id(self.unique_id())),
            _ if OF_MOUNT_OR_PID_NAMESPACES.contains(&command) => {
                Err(Errno::EINVAL.because("this ioctl is for mount or pid namespaces"))
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// The user namespace that owns it (of a user namespace: the one around). Errors: EPERM outside the caller's own.
    fn owner(&self, caller: &Credentials) -> Result<Arc<UserNamespace>> {
        let owner = match self {
            Self::Time(namespace) => Some(namespace.owner()),
            Self::User(namespace) => namespace.parent(),
        };
        owner
            .filter(|owner| caller.user_namespace.contains(owner))
            .cloned()
            .ok_or_else(|| Errno::EPERM.because("the owner lies outside the caller's user namespace"))
    }
}

/// What is asked of mount and pid namespaces: numbers 5 to 12, each with the size of its answer in it.
const OF_MOUNT_OR_PID_NAMESPACES: [u32; 8] =
    [0x8008_b705, 0x8004_b706, 0x8004_b707, 0x8004_b708, 0x8004_b709, 0x8010_b70a, 0x8010_b70b, 0x8010_b70c];
