//! Plans for machines that are made up.

use super::*;

fn debian(codename: &str, candidate: Option<Version>) -> Machine {
    Machine {
        id: "debian".into(),
        codename: codename.into(),
        macos: false,
        candidate,
        mirror: Some("http://near/debian".into()),
        root: true,
        sudo: false,
    }
}

#[test]
fn versions_are_read_from_qemu_and_from_apt() {
    assert_eq!(leading("10.0.2 (Debian 1:10.0.2+ds)"), Some((10, 0)));
    assert_eq!(leading("9"), None);
    let policy = "qemu-system-arm:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7+deb12u13\n";
    assert_eq!(candidate(policy), Some((7, 2)));
    assert_eq!(candidate("qemu-system-arm:\n  Candidate: (none)\n"), None);
    assert_eq!(candidate(""), None);
}

#[test]
fn without_an_archive_to_take_it_from_the_user_is_told_what_to_do() {
    let cut_off = Machine {
        mirror: None,
        ..debian("bookworm", Some((7, 2)))
    };
    assert!(cut_off.plan().unwrap_err().commands[1].starts_with("export QEMU="));
}

#[test]
fn the_machines_own_package_is_preferred_and_backports_serve_an_old_debian() {
    let own = debian("trixie", Some((10, 0))).plan().unwrap();
    assert_eq!(
        own,
        Plan {
            manager: Manager::Apt,
            sudo: false
        }
    );
    assert_eq!(own.commands().len(), 1);
    for candidate in [Some((7, 2)), None] {
        let plan = debian("bookworm", candidate).plan().unwrap();
        let commands = plan.commands().join("\n");
        for part in [
            "URIs: http://near/debian\nSuites: bookworm bookworm-backports\n",
            "Dir::Etc::SourceList=$d/tessera.sources",
            "Dir::Etc::SourceParts=/dev/null",
            "install --no-install-recommends --yes -t bookworm-backports qemu-system-arm",
        ] {
            assert!(commands.contains(part), "no `{part}` in {commands}");
        }
    }
}

#[test]
fn without_root_and_sudo_the_commands_are_told_and_nothing_is_planned() {
    let user = Machine {
        root: false,
        ..debian("bookworm", None)
    };
    let refusal = user.plan().unwrap_err();
    assert!(
        refusal.commands.last().unwrap().starts_with("sudo apt-get"),
        "{refusal}"
    );
    let with_sudo = Machine {
        root: false,
        sudo: true,
        ..debian("bookworm", None)
    };
    assert!(with_sudo.plan().unwrap().sudo);
}

#[test]
fn other_systems_get_their_own_package_manager_or_advice() {
    let fedora = Machine {
        id: "fedora".into(),
        ..debian("", None)
    };
    assert_eq!(fedora.plan().unwrap().manager, Manager::Dnf);
    let mac = Machine {
        macos: true,
        root: false,
        ..debian("", None)
    };
    assert_eq!(
        mac.plan().unwrap(),
        Plan {
            manager: Manager::Brew,
            sudo: false
        }
    );
    let ubuntu = Machine {
        id: "ubuntu".into(),
        ..debian("noble", Some((8, 2)))
    };
    let refusal = ubuntu.plan().unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("https://www.qemu.org/download/")
    );
}

#[test]
fn sudo_keeps_the_environment() {
    let mut command = Command::new("apt-get");
    command
        .arg("update")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let line = process::line(&privileged(command, true));
    assert_eq!(
        line,
        "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update"
    );
}

#[test]
fn os_release_values_lose_their_quotes() {
    let text = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=\"bookworm\"\n";
    assert_eq!(release_field(text, "ID"), "debian");
    assert_eq!(release_field(text, "VERSION_CODENAME"), "bookworm");
    assert_eq!(release_field(text, "VERSION"), "");
}
