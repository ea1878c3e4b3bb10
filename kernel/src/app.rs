//! How an app becomes an image: [`entry!`](crate::entry) and the code it ends with.

/// How a run ended: 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(u32);

impl ExitCode {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something did not.
    pub const FAILURE: Self = Self(1);

    /// The code as a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<u32> for ExitCode {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

/// Makes a `fn() -> ExitCode` what the image runs once the machine is up.
///
/// One app an image. It runs at EL1 on the boot core, with interrupts on, every allocator ready, and
/// the whole of `alloc` at its service. Built for the host it is checked, and does nothing.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! entry {
    ($app:path) => {
        /// What boot calls: the app.
        #[allow(unsafe_code, reason = "the kernel finds the app by its symbol")]
        #[unsafe(no_mangle)]
        extern "Rust" fn tessera_app() -> $crate::ExitCode {
            $crate::console::control(&$crate::wire::control::Control::Hello {
                app: env!("CARGO_CRATE_NAME"),
            });
            let app: fn() -> $crate::ExitCode = $app;
            app()
        }
    };
}

/// Makes a `fn() -> ExitCode` what the image runs once the machine is up: on the host, a `main` that
/// does nothing, so that the app is checked with everything else.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! entry {
    ($app:path) => {
        fn main() {
            let _: fn() -> $crate::ExitCode = $app;
        }
    };
}

#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "the app is found by its symbol")]
unsafe extern "Rust" {
    /// The app that was linked; [`entry!`](crate::entry) makes it.
    pub(crate) safe fn tessera_app() -> ExitCode;
}
