//! The machine that QEMU plays: what the user may ask of it, and QEMU's command line for it.
//!
//! Every option that decides what the guest sees is spelled out on the line, so that QEMU's defaults
//! may change without changing a measurement.

use crate::log::Level;
pub use crate::size::Size;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The least memory that `virt` is offered with.
const LEAST: Size = Size(64 << 20);
/// Memory of `virt` unless asked otherwise.
const DEFAULT: Size = Size(512 << 20);
/// The only memory size that QEMU's `raspi4b` accepts.
const RASPI4B: Size = Size(2 << 30);
/// Above this, memory is not reserved on the host, so that a machine larger than it starts.
const RESERVED: Size = Size(4 << 30);
/// Most cores that `virt` is offered with: what GICv2 can address.
const MOST_CORES: u32 = 8;
/// Cores of `raspi4b`.
const RASPI4B_CORES: u32 = 4;
/// The model of both boards' cores unless asked otherwise: what a Raspberry Pi 4 has.
const DEFAULT_CPU: &str = "cortex-a72";
/// Where virt's image is put that nobody loads: where a boot loader would put it.
const LOADED_AT: u64 = 0x4020_0000;
/// Where gdb connects unless asked otherwise.
const GDB_PORT: &str = "1234";

/// A board that QEMU plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// QEMU's own board
    #[default]
    Virt,
    /// Raspberry Pi 4 Model B
    Raspi4b,
}

impl Board {
    /// Where its first PL011 is: what the image says before it has read the device tree goes there.
    pub const fn console(self) -> u64 {
        match self {
            Self::Virt => 0x0900_0000,
            Self::Raspi4b => 0xFE20_1000,
        }
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virt => "virt",
            Self::Raspi4b => "raspi4b",
        })
    }
}

/// Options that say which machine to boot.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MachineArgs {
    /// Board that QEMU plays
    #[arg(long = "machine", value_enum, value_name = "BOARD", default_value_t = Board::Virt)]
    pub board: Board,
    /// CPU model, by QEMU's name [default: cortex-a72; raspi4b has no other]
    #[arg(long)]
    pub cpu: Option<String>,
    /// Memory: 64M and more on virt [default: 512M], 2G on raspi4b
    #[arg(long, value_name = "SIZE")]
    pub mem: Option<Size>,
    /// Cores: 1 to 8 on virt [default: 1], 4 on raspi4b
    #[arg(long, value_name = "N")]
    pub smp: Option<u32>,
    /// Enter the image at EL2 on virt (raspi4b always does)
    #[arg(long)]
    pub el2: bool,
    /// Enter the image at EL3 on virt, with no firmware below it
    #[arg(long, conflicts_with = "dtb")]
    pub el3: bool,
    /// Interrupt controller of virt: GICv2 or GICv3 [default: 2]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(2..=3))]
    pub gic: Option<u32>,
    /// Device tree for the image in place of QEMU's own
    #[arg(long, value_name = "FILE")]
    pub dtb: Option<PathBuf>,
    /// Least important log lines to show
    #[arg(long = "log", value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    pub log: Level,
    /// Seconds until the machine is stopped, 0 for never [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Wait for a debugger before the first instruction (no timeout then)
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true,
          default_missing_value = GDB_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub gdb: Option<u16>,
    /// Install what is missing without asking
    #[arg(long)]
    pub yes: bool,
    /// Further arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGS")]
    pub qemu: Vec<String>,
}

/// What one boot adds to the machine.
#[derive(Clone, Copy, Debug)]
pub struct Attachments<'a> {
    /// The flat image.
    pub flat: &'a Path,
    /// A raw disk image for a virtio block device.
    pub disk: Option<&'a Path>,
    /// Whether instructions are counted and time follows them.
    pub icount: bool,
}

impl MachineArgs {
    /// Memory of the machine.
    pub fn memory(&self) -> Size {
        self.mem.unwrap_or(match self.board {
            Board::Virt => DEFAULT,
            Board::Raspi4b => RASPI4B,
        })
    }

    /// Model of its cores.
    pub fn cpu_model(&self) -> &str {
        self.cpu.as_deref().unwrap_or(DEFAULT_CPU)
    }

    /// Number of its cores.
    pub fn cores(&self) -> u32 {
        self.smp.unwrap_or(match self.board {
            Board::Virt => 1,
            Board::Raspi4b => RASPI4B_CORES,
        })
    }

    /// Whether QEMU can be this machine.
    ///
    /// # Errors
    ///
    /// One sentence that names the option and what would be accepted.
    pub fn validate(&self) -> Result<()> {
        let (memory, cores) = (self.memory(), self.cores());
        match self.board {
            Board::Virt => {
                if memory < LEAST {
                    bail!("--mem {memory} is too little: at least {LEAST} are needed");
                }
                if !(1..=MOST_CORES).contains(&cores) {
                    bail!("--smp {cores}: virt has 1 to {MOST_CORES} cores");
                }
            }
            Board::Raspi4b => {
                if memory != RASPI4B {
                    bail!("--mem {memory}: QEMU's raspi4b has {RASPI4B} and nothing else");
                }
                if cores != RASPI4B_CORES {
                    bail!(
                        "--smp {cores}: QEMU's raspi4b has {RASPI4B_CORES} cores and no other number"
                    );
                }
                if self.cpu_model() != DEFAULT_CPU {
                    bail!(
                        "--cpu {}: raspi4b's cores are {DEFAULT_CPU}",
                        self.cpu_model()
                    );
                }
                if self.gic == Some(3) {
                    bail!("--gic 3: raspi4b has a GICv2");
                }
                if self.el3 {
                    bail!("--el3: raspi4b enters a flat image at EL2");
                }
            }
        }
        if let Some(dtb) = self.dtb.as_deref().filter(|dtb| !dtb.is_file()) {
            bail!("--dtb {}: no such file", dtb.display());
        }
        Ok(())
    }

    /// QEMU's arguments for this machine.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate), and for a disk on a board that has no virtio.
    pub fn qemu_arguments(&self, attached: &Attachments<'_>) -> Result<Vec<OsString>> {
        self.validate()?;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        match self.board {
            Board::Virt => self.virt(&mut add),
            Board::Raspi4b => add(&["-M", "raspi4b", "-m", "2G", "-smp", "4"]),
        }
        add(&["-display", "none", "-monitor", "none", "-serial", "stdio"]);
        add(&["-semihosting", "-no-reboot"]);
        if attached.icount {
            add(&["-icount", "shift=0,sleep=off"]);
        }
        if let Some(port) = self.gdb {
            add(&["-S", "-gdb", &format!("tcp::{port}")]);
        }
        if let Some(disk) = attached.disk {
            if self.board != Board::Virt {
                bail!("{} has no virtio block device", self.board);
            }
            let drive = format!("if=none,id=disk,format=raw,file={}", escaped(disk));
            add(&["-global", "virtio-mmio.force-legacy=false"]);
            add(&["-drive", &drive, "-device", "virtio-blk-device,drive=disk"]);
        }
        if let Some(dtb) = &self.dtb {
            arguments.extend([OsString::from("-dtb"), dtb.clone().into()]);
        }
        let flat = attached.flat;
        arguments.extend(if self.el3 {
            let place = format!("addr={LOADED_AT:#x},cpu-num=0");
            let loader = format!("loader,file={},{place}", escaped(flat));
            ["-device".into(), loader.into()]
        } else {
            ["-kernel".into(), flat.into()]
        });
        arguments.extend(self.qemu.iter().map(OsString::from));
        Ok(arguments)
    }

    /// QEMU's arguments to write the device tree of this virt to `file` and leave.
    pub fn device_tree_arguments(&self, file: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        self.virt(&mut add);
        let file = format!("dumpdtb={}", escaped(file));
        add(&["-M", &file, "-display", "none"]);
        arguments
    }

    fn virt(&self, add: &mut impl FnMut(&[&str])) {
        let memory = self.memory().to_string();
        let mut machine = format!(
            "virt,gic-version={},dtb-randomness=off",
            self.gic.unwrap_or(2)
        );
        if self.el2 {
            machine.push_str(",virtualization=on");
        }
        if self.el3 {
            machine.push_str(",secure=on");
        }
        let unreserved = cfg!(target_os = "linux") && self.memory() > RESERVED;
        if unreserved {
            machine.push_str(",memory-backend=ram");
        }
        add(&["-M", &machine, "-cpu", self.cpu_model(), "-m", &memory]);
        if unreserved {
            let backend = format!("memory-backend-ram,id=ram,size={memory},reserve=off");
            add(&["-object", &backend]);
        }
        add(&["-smp", &self.cores().to_string(), "-nic", "none"]);
    }
}

/// `path` as the value of one of QEMU's comma-separated options, in which a comma is doubled.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// The QEMU to start: what the environment's `QEMU` names, else the one on the path.
pub fn qemu_program() -> OsString {
    std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-aarch64".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        machine: MachineArgs,
    }

    fn machine(arguments: &[&str]) -> MachineArgs {
        Cli::parse_from([&["xtask"], arguments].concat()).machine
    }

    fn line(arguments: &[&str], icount: bool, disk: Option<&Path>) -> Result<String> {
        let flat = Path::new("image");
        let words = machine(arguments).qemu_arguments(&Attachments { flat, disk, icount })?;
        Ok(words
            .join(OsString::from(" ").as_os_str())
            .into_string()
            .unwrap())
    }

    #[test]
    fn the_default_machine_is_spelled_out() {
        assert_eq!(
            line(&[], false, None).unwrap(),
            "-M virt,gic-version=2,dtb-randomness=off -cpu cortex-a72 -m 512M -smp 1 -nic none \
             -display none -monitor none -serial stdio -semihosting -no-reboot -kernel image"
        );
        assert_eq!(
            line(&["--machine", "raspi4b", "--", "-d", "int"], false, None).unwrap(),
            "-M raspi4b -m 2G -smp 4 -display none -monitor none -serial stdio -semihosting \
             -no-reboot -kernel image -d int"
        );
    }

    #[test]
    fn every_option_reaches_qemu() {
        let options = [
            "--cpu", "max", "--mem", "1G", "--smp", "4", "--el2", "--gic", "3", "--gdb",
        ];
        let line = line(&options, true, Some(Path::new("a,b"))).unwrap();
        for part in [
            "virt,gic-version=3,dtb-randomness=off,virtualization=on",
            "-cpu max -m 1G -smp 4",
            "-icount shift=0,sleep=off",
            "-S -gdb tcp::1234",
            "-drive if=none,id=disk,format=raw,file=a,,b -device virtio-blk-device,drive=disk",
        ] {
            assert!(line.contains(part), "no `{part}` in `{line}`");
        }
    }

    #[test]
    fn without_firmware_the_image_is_put_into_memory() {
        let line = line(&["--el3"], false, None).unwrap();
        assert!(line.contains("dtb-randomness=off,secure=on -cpu"), "{line}");
        let loader = "-device loader,file=image,addr=0x40200000,cpu-num=0";
        assert!(line.contains(loader) && !line.contains("-kernel"), "{line}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_machine_larger_than_the_host_is_not_reserved() {
        let line = line(&["--mem", "64G"], false, None).unwrap();
        assert!(
            line.contains("-object memory-backend-ram,id=ram,size=64G,reserve=off"),
            "{line}"
        );
        assert!(line.contains(",memory-backend=ram "), "{line}");
    }

    #[test]
    fn what_qemu_cannot_be_is_refused_with_the_option_named() {
        for (arguments, named) in [
            (&["--mem", "32M"][..], "--mem 32M"),
            (&["--smp", "9"], "--smp 9"),
            (&["--smp", "0"], "--smp 0"),
            (&["--machine", "raspi4b", "--mem", "1G"], "--mem 1G"),
            (&["--machine", "raspi4b", "--smp", "2"], "--smp 2"),
            (&["--machine", "raspi4b", "--cpu", "max"], "--cpu max"),
            (&["--machine", "raspi4b", "--gic", "3"], "--gic 3"),
            (&["--machine", "raspi4b", "--el3"], "--el3"),
            (&["--dtb", "/nonexistent"], "--dtb /nonexistent"),
        ] {
            let error = line(arguments, false, None).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(line(&["--machine", "raspi4b"], false, Some(Path::new("d"))).is_err());
    }

    #[test]
    fn a_debugger_port_can_be_named_and_needs_an_equals_sign() {
        assert_eq!(machine(&["--gdb=4321"]).gdb, Some(4321));
        assert!(Cli::try_parse_from(["xtask", "--gdb", "4321"]).is_err());
    }
}
