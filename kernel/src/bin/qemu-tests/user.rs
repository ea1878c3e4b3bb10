//! User programs, and the kernel's way to their memory.

use kernel::{
    arch::{image, mmu},
    mm::{addr::VirtAddr, frames},
    user::{
        self, Outcome, UserFault, copy,
        fault::Cause,
        programs::{self, HELLO_CODE},
    },
};

crate::table::tests! {
    a_program_writes_grows_its_heap_and_exits,
    a_program_that_reads_the_kernel_is_killed_with_the_fault_named,
    programs_give_all_their_memory_back,
    no_user_memory_is_mapped_between_programs,
    copies_fail_cleanly_at_bad_addresses,
}

fn a_program_writes_grows_its_heap_and_exits() {
    assert_eq!(
        user::run(&programs::hello()),
        Ok(Outcome::Exited(HELLO_CODE))
    );
}

fn a_program_that_reads_the_kernel_is_killed_with_the_fault_named() {
    let outcome = user::run(&programs::probe()).expect("memory");
    let Outcome::Killed(UserFault::Access { address, cause, .. }) = outcome else {
        panic!("{outcome}");
    };
    assert_eq!(address, image::whole().start);
    assert_eq!(cause, Cause::Permission);
}

fn programs_give_all_their_memory_back() {
    let free_frames = || frames::global().expect("up since boot").free_frames();
    let run = || {
        for _ in 0..300 {
            assert_eq!(
                user::run(&programs::hello()),
                Ok(Outcome::Exited(HELLO_CODE))
            );
        }
    };
    run();
    let before = free_frames();
    run();
    assert_eq!(free_frames(), before);
}

fn no_user_memory_is_mapped_between_programs() {
    assert!(matches!(
        user::run(&programs::hello()),
        Ok(Outcome::Exited(_))
    ));
    for address in [0x40_0000, 0x50_0000, 0x7fff_ffff_fff8] {
        assert!(!mmu::is_readable(VirtAddr::new(address)), "{address:#x}");
    }
}

fn copies_fail_cleanly_at_bad_addresses() {
    let mut bytes = [0xa5; 64];
    let kernel = image::data().start;
    for address in [
        VirtAddr::new(0),
        VirtAddr::new(0x40_0000),
        VirtAddr::new(u64::MAX - 8),
        kernel,
    ] {
        assert!(
            copy::copy_from_user(&mut bytes, address).is_err(),
            "{address:#x}"
        );
        assert!(copy::copy_to_user(address, &bytes).is_err(), "{address:#x}");
        assert!(
            copy::string_from_user(&mut bytes, address).is_err(),
            "{address:#x}"
        );
    }
    assert_eq!(
        bytes, [0xa5; 64],
        "a copy that failed at once wrote something"
    );
}
