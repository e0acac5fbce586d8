//! Fuzzes `metagov_fuzz::times`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::times(data));
