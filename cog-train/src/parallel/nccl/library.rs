//! The functions of NCCL, found in a library that is opened at run time.
#![expect(
    unsafe_code,
    reason = "symbols of a C library are read as the types that its header declares"
)]

use std::ffi::{CStr, c_char, c_int, c_void};

use libloading::Library;

use crate::error::Error;

/// `ncclUniqueId`: 128 bytes that C passes by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// `ncclComm_t`.
pub(super) type Handle = *mut c_void;
pub(super) type Code = c_int;

/// `ncclSuccess` and `ncclInProgress`.
pub(super) const SUCCESS: Code = 0;
const IN_PROGRESS: Code = 7;
/// `ncclSum` and the numbers of `ncclDataType_t`.
pub(super) const SUM: c_int = 0;
pub(super) const UINT8: c_int = 1;

pub(super) type Collective = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    Handle,
    *mut c_void,
) -> Code;

/// The functions of `nccl.h` that are called here. They do not change since NCCL 2.7.
pub(super) struct Functions {
    pub(super) get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> Code,
    pub(super) init_rank: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> Code,
    pub(super) abort: unsafe extern "C" fn(Handle) -> Code,
    pub(super) async_error: unsafe extern "C" fn(Handle, *mut Code) -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    pub(super) all_reduce: Collective,
    pub(super) broadcast: Collective,
    pub(super) send:
        unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Handle, *mut c_void) -> Code,
    pub(super) receive:
        unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> Code,
    pub(super) group_start: unsafe extern "C" fn() -> Code,
    pub(super) group_end: unsafe extern "C" fn() -> Code,
    /// Keeps the functions in memory.
    _library: Library,
}

impl Functions {
    /// Opens the library.
    pub(super) fn load() -> Result<Self, Error> {
        const NAME: &str = "libnccl.so.2";
        let failed = |error: libloading::Error| Error::Ranks {
            reason: format!(
                "NVIDIA's library for many GPUs cannot be opened: {error}\n\
                 hint: install NCCL (the package `libnccl2`, or `nvidia-nccl-cu12` of Python), and name its folder in \
                 `LD_LIBRARY_PATH`"
            ),
        };
        // SAFETY: (1) NCCL's initializers have no requirements. (2) Each symbol is read as the type that `nccl.h` declares. (3) The
        // library is kept beside the functions, which are private to this module.
        unsafe {
            let library = Library::new(NAME).map_err(failed)?;
            macro_rules! symbol {
                ($name:literal) => {
                    *library.get($name).map_err(failed)?
                };
            }
            Ok(Self {
                get_unique_id: symbol!(b"ncclGetUniqueId\0"),
                init_rank: symbol!(b"ncclCommInitRank\0"),
                abort: symbol!(b"ncclCommAbort\0"),
                async_error: symbol!(b"ncclCommGetAsyncError\0"),
                error_string: symbol!(b"ncclGetErrorString\0"),
                all_reduce: symbol!(b"ncclAllReduce\0"),
                broadcast: symbol!(b"ncclBroadcast\0"),
                send: symbol!(b"ncclSend\0"),
                receive: symbol!(b"ncclRecv\0"),
                group_start: symbol!(b"ncclGroupStart\0"),
                group_end: symbol!(b"ncclGroupEnd\0"),
                _library: library,
            })
        }
    }

    /// Returns the error of a code.
    pub(super) fn check(&self, code: Code) -> Result<(), Error> {
        if code == SUCCESS || code == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: the function returns a string that lives as long as the library, for any code.
        let text = unsafe { CStr::from_ptr((self.error_string)(code)) };
        Err(Error::Ranks { reason: format!("NCCL: {}", text.to_string_lossy()) })
    }
}
