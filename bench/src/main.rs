//! The bench image: the instrument as an app. See the library for what it measures.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod app {
    //! The app exists in an image only.

    use kernel::ExitCode;

    kernel::entry!(main);

    fn main() -> ExitCode {
        bench::scratch::take().map_or(ExitCode::FAILURE, bench::run::run)
    }
}

/// On the host there is nothing to measure: `cargo xtask bench` boots the image.
#[cfg(not(target_os = "none"))]
fn main() {}
