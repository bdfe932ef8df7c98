//! Acting as the caller of a request: objects are born with the right owner in one step.

use super::error::{Result, call};
use rustix::thread::CapabilitiesSecureBits;

/// Restores the thread's own filesystem ids on drop.
#[derive(Debug)]
pub struct ActingAs {
    own: Option<(u32, u32)>,
}

#[allow(unsafe_code)]
fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: both calls change only the calling thread's credentials and take plain numbers. They
    // answer the previous id, never an error; the raw calls are used since libc's apply to the
    // calling thread as well, but are not promised to.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}

/// Keeps the capabilities of this thread over [`act_as`]; false where that is not allowed, and
/// then [`act_as`] would lose the right to write below directories of others.
pub fn enable_acting_as() -> bool {
    call("prctl(PR_SET_SECUREBITS)", || {
        let bits = rustix::thread::capabilities_secure_bits()?;
        rustix::thread::set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_SETUID_FIXUP)
    })
    .is_ok()
}

/// Makes new objects of this thread belong to `uid` and `gid` until the guard is dropped.
pub fn act_as(uid: u32, gid: u32) -> Result<ActingAs> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if own == (uid, gid) {
        return Ok(ActingAs { own: None });
    }
    call("setfsuid", || {
        set_fs_ids(uid, gid);
        Ok(())
    })?;
    Ok(ActingAs { own: Some(own) })
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        if let Some((uid, gid)) = self.own {
            set_fs_ids(uid, gid);
        }
    }
}
