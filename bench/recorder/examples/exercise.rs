//! A program that allocates in every way there is, for tests of the recorder: `exercise WHAT…` does one
//! thing after the other.
#![allow(unsafe_code, reason = "calls the C functions that are recorded")]

#[cfg(target_os = "linux")]
mod linux {
    //! The recorder, and so this, is for Linux.

    use libc::c_void;
    use std::alloc::{Layout, alloc, dealloc};
    use std::hint::black_box;
    use std::os::unix::process::CommandExt;
    use std::process::{self, Command};
    use std::ptr;
    use std::sync::mpsc;
    use std::thread;

    /// Threads that hand objects on.
    const THREADS: usize = 4;
    /// Objects that each of them makes.
    const OBJECTS: usize = 500;
    /// Bytes that the parent asks for, that its child does, and that the one that crashes does: tests
    /// count them.
    const PARENT: usize = 7_777;
    const CHILD: usize = 5_555;
    const CRASHED: usize = 3_333;

    pub(super) fn main() {
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "threads" => threads(),
                "edges" => edges(),
                "fork" => fork(),
                "churn" => churn(),
                "exec" => {
                    let error = Command::new("/proc/self/exe").args(words).exec();
                    panic!("cannot become another program: {error}");
                }
                "crash" => {
                    black_box([const { CRASHED }; 9].map(Vec::<u8>::with_capacity));
                    let held = [const { CRASHED }; 9].map(Vec::<u8>::with_capacity);
                    black_box(&held);
                    process::abort();
                }
                status => process::exit(status.parse().expect("what to do, or a status")),
            }
        }
    }

    /// Each thread frees what the one before it made.
    fn threads() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
        thread::scope(|scope| {
            for (number, receiver) in receivers.into_iter().enumerate() {
                let next = senders[(number + 1) % THREADS].clone();
                scope.spawn(move || {
                    let mut grown = Vec::new();
                    for object in 0..OBJECTS {
                        grown.push(object);
                        let mut made = vec![0_u8; 1 + object % 300];
                        made[0] = 1;
                        next.send(made).expect("all threads take what they get");
                    }
                    drop(next);
                    let got: usize = receiver.iter().take(OBJECTS).map(|made| made.len()).sum();
                    black_box((got, grown));
                });
            }
        });
        for align in [8, 64, 4096] {
            let layout = Layout::from_size_align(100, align).expect("a power of two");
            // SAFETY: it has a size.
            let object = unsafe { alloc(layout) };
            // SAFETY: it came from there, if it came.
            unsafe { dealloc(black_box(object), layout) };
        }
    }

    /// What is allowed and hardly ever done.
    fn edges() {
        let free = |object: *mut c_void| {
            // SAFETY: whoever calls this has it from the allocator.
            unsafe { libc::free(black_box(object)) };
        };
        let calloc = |count: usize, size: usize| {
            // SAFETY: any numbers will do.
            black_box(unsafe { libc::calloc(count, size) })
        };
        let realloc = |object: *mut c_void, size: usize| {
            // SAFETY: the object is live, or null.
            black_box(unsafe { libc::realloc(object, size) })
        };
        free(ptr::null_mut());
        // SAFETY: any number will do.
        free(unsafe { libc::malloc(0) });
        let object = realloc(ptr::null_mut(), 40);
        assert!(realloc(object, usize::MAX / 4).is_null(), "it failed");
        let object = realloc(object, 50_000);
        assert!(realloc(object, 0).is_null(), "it was freed");
        assert!(calloc(usize::MAX, 2).is_null(), "too much");
        let object = calloc(3, 7);
        // SAFETY: the object is live.
        let more = unsafe { libc::reallocarray(object, usize::MAX, 2) };
        assert!(more.is_null(), "too much");
        // SAFETY: as above.
        assert!(unsafe { libc::malloc_usable_size(object) } >= 21);
        free(object);
        let mut aligned = ptr::null_mut();
        // SAFETY: there is room for the result.
        let refused = unsafe { libc::posix_memalign(&raw mut aligned, 3, 8) };
        assert_eq!(refused, libc::EINVAL, "not a power of two");
        // SAFETY: as above.
        let made = unsafe { libc::posix_memalign(&raw mut aligned, 256, 999) };
        assert!(made == 0 && aligned.addr().is_multiple_of(256));
        free(aligned);
        // SAFETY: any numbers will do.
        free(unsafe { libc::aligned_alloc(32, 64) });
        // SAFETY: as above.
        free(unsafe { libc::memalign(1 << 16, 10) });
    }

    /// A child that frees what its parent made, and makes something itself.
    fn fork() {
        let inherited = Vec::<u8>::with_capacity(PARENT);
        // SAFETY: no other thread runs that could hold a lock.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "cannot fork");
        let is_child = child == 0;
        drop(black_box(inherited));
        for _ in 0..20 {
            let bytes = if is_child { CHILD } else { PARENT };
            black_box(Vec::<u8>::with_capacity(bytes));
        }
        if is_child {
            process::exit(0);
        }
        // SAFETY: it is our child; nobody wants its status.
        unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    }

    /// More records than a chunk has, by two threads at once.
    fn churn() {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for size in 1..=20_000 {
                        black_box(Vec::<u8>::with_capacity(size));
                    }
                });
            }
        });
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
