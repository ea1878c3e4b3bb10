//! Boards.
#![no_std]
