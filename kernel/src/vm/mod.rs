//! Virtual memory: who sees which memory where, and with what rights.
//!
//! ```text
//!  vmalloc   ioremap   boot            user::address_space
//!     └─ area ──┴────────┤                     │
//!                  kernel_space (TTBR1)        │ (TTBR0)
//!                        └───────── table ─────┘
//!                                descriptor            raw_table: tables in real memory
//! ```
//!
//! [`descriptor`] says what a mapping may be, [`table`] makes and changes trees of them, break before
//! make; [`layout`] divides the kernel's half. All of that is tested on the host, with a recorder in the
//! machine's place.

pub mod area;
pub mod descriptor;
pub mod fixmap;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod hardware;
#[cfg(target_os = "none")]
pub mod ioremap;
#[cfg(target_os = "none")]
pub mod kernel_space;
pub mod layout;
pub mod linear;
#[cfg(target_os = "none")]
pub mod movable;
pub mod raw_table;
pub mod report;
pub mod set_memory;
pub mod table;
pub mod vmalloc;
