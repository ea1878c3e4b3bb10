//! The kinds of machines that tests run on, and the images, each built once.

use crate::image::{self, Image, Target};
use crate::machine::{Board, MachineArgs};
use anyhow::Result;
use std::sync::Arc;

/// Seconds for a boot of a test; twenty times what one takes on an idle host.
const TIMEOUT_SECONDS: u64 = 240;

/// A kind of machine.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Its name among the tests.
    pub(super) name: &'static str,
    /// How it is asked for.
    pub(super) machine: MachineArgs,
    /// What its image is built with.
    pub(super) features: &'static [&'static str],
    /// Whether instructions are counted, and time follows them: only tests that need it run then.
    pub(super) icount: bool,
}

/// Features of the image that checks most, and has allocations fail.
pub(super) const STRICT: &[&str] = &["hardened", "lock-order", "fault-injection"];

/// The tests that need instructions counted begin so.
pub(super) const COUNTING: &str = "walk::";

/// The kinds that the tests inside images run on.
pub(super) fn kinds() -> Vec<Kind> {
    let kind = |name, change: fn(&mut MachineArgs)| {
        let mut machine = MachineArgs {
            timeout: Some(TIMEOUT_SECONDS),
            ..MachineArgs::default()
        };
        change(&mut machine);
        Kind {
            name,
            machine,
            features: &[],
            icount: false,
        }
    };
    vec![
        kind("virt", |_| {}),
        kind("virt-el2", |machine| {
            machine.el2 = true;
            machine.smp = Some(2);
        }),
        kind("virt-el3", |machine| machine.el3 = true),
        kind("virt-gicv3", |machine| {
            machine.gic = Some(3);
            machine.smp = Some(8);
        }),
        kind("virt-smp", |machine| machine.smp = Some(4)),
        kind("virt-max", |machine| machine.cpu = Some("max".to_owned())),
        kind("raspi4b", |machine| machine.board = Board::Raspi4b),
        Kind {
            icount: true,
            ..kind("virt-icount", |_| {})
        },
        Kind {
            icount: true,
            ..kind("raspi4b-icount", |machine| machine.board = Board::Raspi4b)
        },
        Kind {
            features: STRICT,
            ..kind("virt-hardened", |machine| machine.smp = Some(4))
        },
    ]
}

/// Images that have been built.
#[derive(Debug, Default)]
pub(super) struct Images(Vec<Arc<Image>>);

impl Images {
    /// Builds the kernel's image `target`, unless that was done before.
    ///
    /// # Errors
    ///
    /// If it does not build.
    pub(super) fn image(&mut self, target: Target<'_>, features: &[&str]) -> Result<Arc<Image>> {
        let name = image::name(target, features);
        if let Some(image) = self.0.iter().find(|image| image.name == name) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(image::build("kernel", target, features)?);
        self.0.push(Arc::clone(&image));
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_had_and_names_are_different() {
        let kinds = kinds();
        let mut names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kinds.len());
        kinds
            .iter()
            .for_each(|kind| kind.machine.validate().unwrap());
    }
}
